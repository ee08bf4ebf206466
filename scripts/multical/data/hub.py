"""The Hugging Face hub: repositories at one commit, through the hub's own client.

Files go into the hub's own cache (HF_HOME), and HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE
mean what they mean to the client. What goes wrong is one sentence. What may pass (too
many requests, an error of the server, no answer, a file cut off in the middle) is tried
again, each time after twice the wait.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential

from multical.errors import InputError, redacted

#: How often the hub is asked, and the seconds before the second time
TRIES = 5
WAIT = 2.0
#: Longest wait, in seconds, that the hub may ask for
LONGEST_WAIT = 310
#: Seconds to wait for an answer
PATIENCE = 60
#: Statuses that may change later
RETRYABLE = (408, 429, 500, 502, 503, 504)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """A repository at a commit, or at none yet; `kind` is `model` or `dataset`."""

    kind: str
    repo: str
    revision: str | None

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision or 'its newest commit'}"

    @property
    def page(self) -> str:
        """Where a person may ask for access."""
        from huggingface_hub import constants

        folder = "datasets/" if self.kind == "dataset" else ""
        return f"{constants.ENDPOINT}/{folder}{self.repo}"


def snapshot(repo: str, revision: str | None, patterns: list[str]) -> Path:
    """Download the files of a model that match `patterns`; returns their folder.

    Not those of its folders, nor `consolidated` weights: the same model as its makers have it.
    """
    from huggingface_hub import snapshot_download

    source, ignored = Source("model", repo, revision), ["*/*", "consolidated*"]
    need_commit(source)
    found = call_hub(
        source,
        lambda: snapshot_download(
            repo, revision=revision, allow_patterns=patterns, ignore_patterns=ignored
        ),
    )
    return Path(found)


def need_commit(source: Source) -> None:
    """Raise `InputError` that names the newest commit where none is said."""
    from huggingface_hub import HfApi

    if source.revision is None:
        about = call_hub(
            source,
            lambda: HfApi().repo_info(source.repo, repo_type=source.kind, timeout=PATIENCE),
        )
        raise InputError(
            f"config: revision of {source.repo}: found null, expected a commit; the newest is "
            f"{about.sha}"
        )


@cache
def check(source: Source) -> None:
    """Raise `InputError` unless the repository is open to the user and has the commit.

    Called first, once in a process, since `datasets` does not always say why it fails.
    """
    from huggingface_hub import HfApi

    need_commit(source)
    api, repo, kind = HfApi(), source.repo, source.kind

    def look() -> None:
        api.repo_info(repo, revision=source.revision, repo_type=kind, timeout=PATIENCE)
        api.auth_check(repo, repo_type=kind)

    call_hub(source, look)


def call_hub(source: Source, action: Callable[[], Result]) -> Result:
    """What `action` gets from the hub; tries again what may pass, `TRIES` times in all.

    Raises `InputError` with the sentence of `reason`. Errors that are not the hub's pass.
    """

    def may_pass(error: BaseException) -> bool:
        if isinstance(error, InputError) or not isinstance(error, Exception):
            return False
        return reason(source, error)[1]

    def announce(state: RetryCallState) -> None:
        said = f"{reason(source, _error(state))[0]}; again in {state.upcoming_sleep:.0f} s"
        print(redacted(f"hub: {source.repo}: {said}"), file=sys.stderr)

    retrying = Retrying(
        retry=retry_if_exception(may_pass),
        stop=stop_after_attempt(TRIES),
        wait=_wait,
        before_sleep=announce,
        reraise=True,
    )
    try:
        return retrying(action)
    except InputError:
        raise
    except Exception as error:
        said, passing = reason(source, error)
        if not said:
            raise
        said += f", asked {TRIES} times" if passing else ""
        raise InputError(f"hub: cannot download {source} ({said})") from error


def _error(state: RetryCallState) -> Any:
    """What the last try raised."""
    return state.outcome and state.outcome.exception()


def _wait(state: RetryCallState) -> float:
    """Seconds that the hub asks to wait, or else twice those of the last time."""
    from huggingface_hub.utils import parse_ratelimit_headers

    answers = [one.response for one in chain(_error(state)) if hasattr(one, "response")]
    headers: Any = answers[0].headers if answers else {}
    limit = parse_ratelimit_headers(headers)
    asked = headers.get("Retry-After", "")
    wanted = float(asked) if asked.isdigit() else 0.0
    if limit is not None and limit.remaining == 0:
        wanted = max(wanted, limit.reset_in_seconds + 1.0)
    return min(max(wanted, wait_exponential(multiplier=WAIT)(state)), LONGEST_WAIT)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def reason(source: Source, error: Exception) -> tuple[str, bool]:
    """Why the hub did not give what was asked, and whether that may pass.

    Empty for errors of another kind. `datasets` wraps what its client raises, so the whole
    chain is looked through.
    """
    import httpx2
    from huggingface_hub import constants, errors

    found = list(chain(error))

    def first(*kinds: type[BaseException]) -> Any:
        return next((one for one in found if isinstance(one, kinds)), None)

    if answer := first(errors.HfHubHTTPError):
        return _refusal(source, answer)
    if first(errors.OfflineModeIsEnabled):
        return "not in the cache, and HF_HUB_OFFLINE is set", False
    if first(errors.HFValidationError):
        return "not the name of a repository, expected OWNER/NAME", False
    if cut := next((one for one in found if "Consistency check failed" in str(one)), None):
        return f"cut off in the middle: {one_line(cut)}", True
    if first(httpx2.RemoteProtocolError, httpx2.ReadError):
        return f"cut off in the middle by {constants.ENDPOINT}", True
    if lost := first(httpx2.TransportError):
        return f"no answer from {constants.ENDPOINT} ({type(lost).__name__})", True
    if first(ConnectionError, TimeoutError, errors.LocalEntryNotFoundError):
        return f"no answer from {constants.ENDPOINT}", True
    if broken := next((one for one in found if type(one) is RuntimeError), None):
        return f"the hub's storage: {one_line(broken)}", True  # of hf_xet, which has no other type
    if other := first(OSError):
        return one_line(other), False
    return "", False


def _refusal(source: Source, error: Any) -> tuple[str, bool]:
    """The same for an answer of the hub that is an error."""
    from huggingface_hub import errors, get_token

    whom = "there is no token" if get_token() is None else "it is closed to your token"
    match error:
        case errors.GatedRepoError():
            remedy = f"ask for access at {source.page}, then hf auth login or set HF_TOKEN"
            return f"gated, and {whom}: {remedy}", False
        case errors.RevisionNotFoundError():
            return "no such revision", False
        case errors.RepositoryNotFoundError():
            return f"no such repository, or it is private and {whom}", False
        case errors.RemoteEntryNotFoundError():
            return f"no such file: {error.response.url}", False
    status = error.response.status_code
    if status == 401:
        return "the hub refuses your token (401): hf auth login, or unset HF_TOKEN", False
    said = error.response.headers.get("X-Error-Message") or one_line(error)
    return f"the hub answers {status}: {said}", status in RETRYABLE


def one_line(error: BaseException) -> str:
    """What an error says, shortened, for a sentence."""
    return " ".join(str(error).split())[:200]
