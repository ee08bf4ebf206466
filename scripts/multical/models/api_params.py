"""Models behind OpenAI-compatible APIs: sections of config.yaml, and how they are asked."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from multical.errors import SECRET
from multical.params import ChatFormat, Strict


class Prices(Strict):
    """Prices of a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")


class Access(Strict):
    """How an API is asked; no record depends on any of it."""

    key: str | None = Field(
        default=None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="environment variable that holds the API key, never the key; null: none is "
        "sent. Its name has API_KEY, TOKEN or SECRET in it, by which logs know what to hide",
    )
    requests_per_minute: float | None = Field(default=None, gt=0, description="null: no limit")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="null: no limit")
    concurrency: int = Field(default=4, ge=1, le=64, description="requests at a time, at most")
    timeout: float = Field(default=60, gt=0, description="seconds without an answer")
    retries: int = Field(default=8, ge=0, description="of a request that may yet be answered")
    prices: Prices | None = Field(default=None, description="null: tokens are counted alone")
    budget: float | None = Field(
        default=None, gt=0, description="a job that would cost more is refused; needs prices"
    )

    @model_validator(mode="after")
    def _hides_its_key(self) -> Access:
        if self.key is not None and not SECRET.search(self.key):
            raise ValueError(
                f"key: found {self.key!r}, expected a name with API_KEY, TOKEN or SECRET in it"
            )
        if self.budget is not None and self.prices is None:
            raise ValueError(f"budget: found {self.budget:g} without prices, expected both")
        return self


#: Keys of a request that are ours alone
OWN_KEYS = {"model", "messages", "prompt", "logprobs", "top_logprobs", "n", "stream", "echo"}


class Endpoint(Strict):
    """What an API is asked for, on which its answers depend."""

    url: str = Field(
        pattern=r"^https?://[^\s@?#{}]+$",  # no login: it is recorded with the job
        description="of the API, without the endpoint: https://api.openai.com/v1",
    )
    model: str = Field(pattern=r"^[!-~]+$", description="its name there, with its version")
    endpoint: Literal["chat", "completions"] = Field(
        description="chat: /chat/completions, in the server's own chat template; completions: "
        "/completions, a text in the model's chat_format"
    )
    top_logprobs: int = Field(
        default=20, ge=2, description="tokens to list; OpenAI allows 20, completions 5"
    )
    eos_token: str = Field(
        default="", description="completions: what ends the answers of few-shot examples"
    )
    request: dict[str, Any] = Field(
        default={},
        description="further keys of each request, as seed; null leaves out one of ours: "
        "max_tokens (1), temperature (0)",
    )

    @field_validator("request")
    @classmethod
    def _keeps_what_is_ours(cls, request: dict[str, Any]) -> dict[str, Any]:
        if own := sorted(OWN_KEYS & request.keys()):
            raise ValueError(f"found {own}, expected other keys")
        return request

    def check_format(self, chat_format: ChatFormat) -> None:
        """Raise `ValueError` unless the endpoint takes conversations in that format."""
        wanted = ["template"] if self.endpoint == "chat" else ["plain", "tulu", "none"]
        if chat_format not in wanted:
            raise ValueError(
                f"chat_format: found {chat_format}, expected {' or '.join(wanted)} for the "
                f"endpoint {self.endpoint}"
            )


class ApiModel(Endpoint):
    """A model behind an OpenAI-compatible API that lists the likeliest first tokens."""

    kind: Literal["api"]
    access: Access = Access()

    @model_validator(mode="after")
    def _sends_its_key_in_secret(self) -> ApiModel:
        local = re.match(r"http://(localhost|127\.0\.0\.1|\[::1\])[:/]", self.url)
        if self.access.key and not (local or self.url.startswith("https:")):
            raise ValueError(f"url: found {self.url}, expected https, since a key is sent there")
        return self

    @property
    def asked(self) -> Endpoint:
        """The part on which its answers depend."""
        return Endpoint(**self.model_dump(exclude={"kind", "access"}))
