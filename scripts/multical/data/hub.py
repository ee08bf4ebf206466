"""The Hugging Face hub: repositories at one commit, through the client of the hub.

Files go into the cache of the client (HF_HOME). HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE have the
meaning that the client gives them. Errors become one sentence. After a temporary error (too many
requests, a server error, no answer, a truncated file) we try again, with a wait that doubles each
time.
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

#: Largest number of tries, and seconds before the second try
TRIES = 5
WAIT = 2.0
#: Longest wait in seconds, even if the hub asks for more
LONGEST_WAIT = 310
#: Seconds to wait for an answer
PATIENCE = 60
#: HTTP statuses of temporary errors
RETRYABLE = (408, 429, 500, 502, 503, 504)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """A repository at a commit, which may still be unknown; `kind` is `model` or `dataset`."""

    kind: str
    repo: str
    revision: str | None

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision or 'its newest commit'}"

    @property
    def page(self) -> str:
        """The web page where a user can ask for access."""
        from huggingface_hub import constants

        folder = "datasets/" if self.kind == "dataset" else ""
        return f"{constants.ENDPOINT}/{folder}{self.repo}"


def snapshot(repo: str, revision: str | None, patterns: list[str], ignored: list[str]) -> Path:
    """Download the files of a model that match `patterns` but none of `ignored`.

    Returns the folder of all its files, which may have more from earlier downloads.
    """
    from huggingface_hub import snapshot_download

    source = Source("model", repo, revision)
    need_commit(source)
    folder = call_hub(
        source,
        lambda: snapshot_download(
            repo, revision=revision, allow_patterns=patterns, ignore_patterns=ignored
        ),
    )
    return Path(folder)


def need_commit(source: Source) -> None:
    """Raise `InputError` with the newest commit if the source has no commit."""
    from huggingface_hub import HfApi

    if source.revision is None:
        info = call_hub(
            source,
            lambda: HfApi().repo_info(source.repo, repo_type=source.kind, timeout=PATIENCE),
        )
        raise InputError(
            f"config: revision of {source.repo}: found null, expected a commit; the newest is "
            f"{info.sha}"
        )


@cache
def check(source: Source) -> None:
    """Raise `InputError` unless the user may read the repository and it has the commit.

    `split` and `configs` call this first, since `datasets` does not always tell why it fails.
    """
    from huggingface_hub import HfApi

    need_commit(source)
    api, repo, kind = HfApi(), source.repo, source.kind

    def look() -> None:
        api.repo_info(repo, revision=source.revision, repo_type=kind, timeout=PATIENCE)
        api.auth_check(repo, repo_type=kind)

    call_hub(source, look)


def call_hub(source: Source, action: Callable[[], Result]) -> Result:
    """Return the result of `action`; after a temporary error, try again, at most `TRIES` times.

    Raises `InputError` with the sentence of `reason` for errors of the hub. Other errors propagate.
    """

    def is_temporary(error: BaseException) -> bool:
        if isinstance(error, InputError) or not isinstance(error, Exception):
            return False
        return reason(source, error)[1]

    def announce(state: RetryCallState) -> None:
        sentence = f"{reason(source, _error(state))[0]}; again in {state.upcoming_sleep:.0f} s"
        print(redacted(f"hub: {source.repo}: {sentence}"), file=sys.stderr)

    retrying = Retrying(
        retry=retry_if_exception(is_temporary),
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
        sentence, temporary = reason(source, error)
        if not sentence:
            raise
        sentence += f", asked {TRIES} times" if temporary else ""
        raise InputError(f"hub: cannot download {source} ({sentence})") from error


def _error(state: RetryCallState) -> Any:
    """The exception of the last try."""
    return state.outcome and state.outcome.exception()


def _wait(state: RetryCallState) -> float:
    """Seconds until the next try: twice the last wait, or more if the hub asks for it."""
    from huggingface_hub.utils import parse_ratelimit_headers

    answers = [error.response for error in chain(_error(state)) if hasattr(error, "response")]
    headers: Any = answers[0].headers if answers else {}
    limit = parse_ratelimit_headers(headers)
    retry_after = headers.get("Retry-After", "")
    seconds = float(retry_after) if retry_after.isdigit() else 0.0
    if limit is not None and limit.remaining == 0:
        seconds = max(seconds, limit.reset_in_seconds + 1.0)
    return min(max(seconds, wait_exponential(multiplier=WAIT)(state)), LONGEST_WAIT)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def reason(source: Source, error: Exception) -> tuple[str, bool]:
    """Why a request to the hub failed, and whether the error is temporary.

    The text is empty for errors that do not come from the hub. This searches all causes of the
    error, since `datasets` wraps the errors of the client.
    """
    import httpx2
    from huggingface_hub import constants, errors

    causes = list(chain(error))

    def first(*kinds: type[BaseException]) -> Any:
        return next((cause for cause in causes if isinstance(cause, kinds)), None)

    if answer := first(errors.HfHubHTTPError):
        return _refusal(source, answer)
    if first(errors.OfflineModeIsEnabled):
        return "not in the cache, and HF_HUB_OFFLINE is set", False
    if first(errors.HFValidationError):
        return "not the name of a repository, expected OWNER/NAME", False
    if cut := next((cause for cause in causes if "Consistency check failed" in str(cause)), None):
        return f"cut off in the middle: {one_line(cut)}", True
    if first(httpx2.RemoteProtocolError, httpx2.ReadError):
        return f"cut off in the middle by {constants.ENDPOINT}", True
    if lost := first(httpx2.TransportError):
        return f"no answer from {constants.ENDPOINT} ({type(lost).__name__})", True
    if first(ConnectionError, TimeoutError, errors.LocalEntryNotFoundError):
        return f"no answer from {constants.ENDPOINT}", True
    if broken := next((cause for cause in causes if type(cause) is RuntimeError), None):
        return f"the hub's storage: {one_line(broken)}", True  # hf_xet raises no other type
    if other := first(OSError):
        return one_line(other), False
    return "", False


def _refusal(source: Source, error: Any) -> tuple[str, bool]:
    """Like `reason`, for an answer with an error status."""
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
    message = error.response.headers.get("X-Error-Message") or one_line(error)
    return f"the hub answers {status}: {message}", status in RETRYABLE


def one_line(error: BaseException) -> str:
    """The message of an error in one line, shortened."""
    return " ".join(str(error).split())[:200]
