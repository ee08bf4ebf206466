"""Models behind OpenAI-compatible APIs: sections of config.yaml."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from multical.errors import SECRET
from multical.params import ChatFormat, Strict, matching


class Prices(Strict):
    """Prices per million tokens."""

    input: float = Field(ge=0, le=1e9, description="price of the tokens sent")
    output: float = Field(ge=0, le=1e9, description="price of the tokens received")
    currency: str = matching(
        r"^[A-Z]{3}$", "three capital letters", default="USD", description="currency of the prices"
    )


class Access(Strict):
    """How to access an API. Records do not depend on these keys."""

    key: str | None = matching(
        r"^[A-Z][A-Z0-9_]*$",
        "a name of capital letters, digits and underscores",
        default=None,
        description="name of the environment variable with the API key, never the key itself; "
        "null: no key is sent. The name must contain API_KEY, TOKEN or SECRET, so that logs hide "
        "the value",
    )
    requests_per_minute: float | None = Field(default=None, ge=0.01, description="null: no limit")
    tokens_per_minute: float | None = Field(default=None, ge=1, description="null: no limit")
    concurrency: int = Field(
        default=4, ge=1, le=64, description="largest number of requests at a time"
    )
    timeout: float = Field(
        default=60, gt=0, le=86_400, description="seconds to wait for a whole answer"
    )
    retries: int = Field(
        default=8, ge=0, le=1000, description="repetitions of a request after a temporary error"
    )
    prices: Prices | None = Field(default=None, description="null: count tokens, not costs")
    budget: float | None = Field(
        default=None, gt=0, description="a job that would cost more fails; needs prices"
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


#: Addresses of this machine
LOOPBACK = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$)")
#: Keys of a request that `request` in the config must not set
RESERVED_KEYS = {"model", "messages", "prompt", "logprobs", "top_logprobs", "n", "stream", "echo"}


class Endpoint(Strict):
    """The keys on which the answers of an API depend."""

    url: str = matching(
        r"^https?://[^\s@?#{}]+$",  # no login, since the URL is recorded with the job
        "an address with http:// or https:// and without a login or a query",
        description="URL of the API without the endpoint, such as https://api.openai.com/v1",
    )
    model: str = matching(
        r"^[!-~]+$",
        "a name without spaces, in ASCII",
        description="the model's name in the API, with its version",
    )
    endpoint: Literal["chat", "completions"] = Field(
        description="chat: /chat/completions, where the server applies the chat template; "
        "completions: /completions, to which we send a text in the model's chat_format"
    )
    top_logprobs: int = Field(
        default=20,
        ge=2,
        description="number of tokens to list; OpenAI allows 20, or 5 for completions",
    )
    eos_token: str = Field(
        default="", description="for completions: text that ends the answers of few-shot examples"
    )
    request: dict[str, Any] = Field(
        default={},
        description="further keys of each request, such as seed; null removes one of our own, "
        "max_tokens (1) or temperature (0)",
    )

    @field_validator("request")
    @classmethod
    def _sets_no_reserved_key(cls, request: dict[str, Any]) -> dict[str, Any]:
        if reserved := sorted(RESERVED_KEYS & request.keys()):
            raise ValueError(f"found {reserved}, expected other keys")
        try:
            json.dumps(request, allow_nan=False)
        except (TypeError, ValueError) as error:  # such as a date of YAML
            raise ValueError(f"expected what JSON can say ({error})") from error
        return request

    @property
    def is_local(self) -> bool:
        """Whether the API is on this machine, where no proxy and no encryption is needed."""
        return LOOPBACK.match(self.url) is not None

    def check_format(self, chat_format: ChatFormat) -> None:
        """Raise `ValueError` unless the endpoint can use the format."""
        wanted = ["template"] if self.endpoint == "chat" else ["plain", "tulu", "none"]
        if chat_format not in wanted:
            raise ValueError(
                f"chat_format: found {chat_format}, expected {' or '.join(wanted)} for the "
                f"endpoint {self.endpoint}"
            )


class ApiModel(Endpoint):
    """A model behind an OpenAI-compatible API that lists the most likely first tokens."""

    kind: Literal["api"]
    access: Access = Access()

    @model_validator(mode="after")
    def _sends_its_key_encrypted(self) -> ApiModel:
        if self.access.key and not (self.is_local or self.url.startswith("https:")):
            raise ValueError(f"url: found {self.url}, expected https, since a key is sent there")
        return self

    @property
    def asked(self) -> Endpoint:
        """The keys on which the answers depend."""
        return Endpoint(**self.model_dump(exclude={"kind", "access"}))
