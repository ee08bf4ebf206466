"""The Hugging Face hub: models and data sets at one commit, through the hub's own clients.

Files go into the hub's own cache (HF_HOME), and HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE
mean what they mean to the clients. What goes wrong is one sentence. What may pass (too
many requests, an error of the server, no answer, a file cut off in the middle) is tried
again, each time after twice the wait.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from multical.errors import InputError
from multical.files import sha256

if TYPE_CHECKING:
    from datasets import Dataset

#: How often the hub is asked, and the seconds before the second time
TRIES = 5
WAIT = 2.0
#: Longest wait, in seconds, that the hub may ask for
LONGEST_WAIT = 310
#: Seconds to wait for an answer
PATIENCE = 60
#: Statuses that may pass
PASSING = (408, 429, 500, 502, 503, 504)

Result = TypeVar("Result")


class OddRowError(Exception):
    """A row that is no question or conversation: what is wrong with it."""


@dataclass(frozen=True)
class Source:
    """A repository at a commit; `kind` is `model` or `dataset`."""

    kind: str
    repo: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repo} at {self.revision}"

    @property
    def page(self) -> str:
        """Where a person may ask for access."""
        from huggingface_hub import constants

        folder = "datasets/" if self.kind == "dataset" else ""
        return f"{constants.ENDPOINT}/{folder}{self.repo}"


@dataclass(frozen=True)
class Split:
    """Rows of one split of one config, and the files that they were read from."""

    place: str  # repository, config and split, for messages
    rows: Dataset
    files: dict[str, str]  # SHA-256 by path in the repository

    def needs(self, columns: Sequence[str]) -> None:
        """Raise `InputError` naming the columns that are missing."""
        if missing := [name for name in columns if name not in self.rows.column_names]:
            found = sorted(self.rows.column_names)
            raise InputError(f"{self.place}: no columns {missing}, found {found}")


def snapshot(repo: str, revision: str, patterns: list[str]) -> Path:
    """Download the files of a model that match `patterns`; returns their folder."""
    from huggingface_hub import snapshot_download

    source = Source("model", repo, revision)
    return Path(
        asked(source, lambda: snapshot_download(repo, revision=revision, allow_patterns=patterns))
    )


def configs(repo: str, revision: str) -> list[str]:
    """The configs of a data set, such as its languages, sorted."""
    import datasets

    source = Source("dataset", repo, revision)
    check(source)
    found = asked(source, lambda: datasets.get_dataset_config_names(repo, revision=revision))
    return sorted(found)


def split(repo: str, revision: str, config: str | None, name: str) -> Split:
    """Download and read one split, of the default config where `config` is null.

    Raises `InputError` for a config or split that is not there, and for files that are not
    as the data set's card says.
    """
    source = Source("dataset", repo, revision)
    check(source)
    builder = _builder(source, config)
    files = {key: _pinned(source, urls) for key, urls in (builder.config.data_files or {}).items()}
    place = " ".join(filter(None, [repo, config, name]))
    if name not in files:
        raise InputError(f"{place}: no split {name!r}, found {sorted(map(str, files))}")
    paths = {file: _download(source, file) for each in files.values() for file in each}
    rows = _prepared(builder, name, place)
    return Split(place, rows, {file: sha256(paths[file]) for file in files[name]})


@cache
def check(source: Source) -> None:
    """Raise `InputError` unless the repository is open to the user and has the commit.

    Asked first, once in a process, since `datasets` does not always tell why it fails.
    """
    from huggingface_hub import HfApi

    api, repo, kind = HfApi(), source.repo, source.kind

    def look() -> None:
        api.repo_info(repo, revision=source.revision, repo_type=kind, timeout=PATIENCE)
        api.auth_check(repo, repo_type=kind)

    asked(source, look)


def _builder(source: Source, config: str | None) -> Any:
    """The builder of `datasets` for a config."""
    import datasets
    import yaml

    datasets.disable_progress_bars()

    def load() -> Any:
        try:
            found = datasets.load_dataset_builder(source.repo, config, revision=source.revision)
        except yaml.YAMLError as error:
            raise InputError(f"{source}: its card is not readable ({_line(error)})") from error
        except ValueError as error:
            if "BuilderConfig" not in str(error):
                raise
            names = configs(source.repo, source.revision)
            raise InputError(f"{source}: no config {config!r}, found {names}") from error
        for urls in (found.config.data_files or {"": []}).values():
            if not urls or not all(url.startswith(_root(source)) for url in urls):
                # when the hub fails, datasets takes what its cache holds, of any commit
                raise ConnectionError("the hub did not list the files")
        return found

    return asked(source, load)


def _root(source: Source) -> str:
    return f"hf://datasets/{source.repo}@{source.revision}/"


def _pinned(source: Source, urls: Sequence[str]) -> list[str]:
    return [url.removeprefix(_root(source)) for url in urls]


def _download(source: Source, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    def get() -> str:
        found: str = hf_hub_download(
            source.repo, file, repo_type=source.kind, revision=source.revision
        )
        return found

    return Path(asked(source, get))


def _prepared(builder: Any, split: str, place: str) -> Dataset:
    """The rows of a split whose files are in the cache."""
    import datasets.exceptions
    import pyarrow

    try:
        builder.download_and_prepare()
        rows: Dataset = builder.as_dataset(split=split)
    except (datasets.exceptions.DatasetsError, pyarrow.ArrowException, ValueError) as error:
        *_, cause = _chain(error)
        raise InputError(f"{place}: not a data set as its card says ({_line(cause)})") from error
    except OSError as error:
        raise InputError(f"{place}: cannot be prepared ({_line(error)})") from error
    return rows


def asked(source: Source, action: Callable[[], Result]) -> Result:
    """What `action` gets from the hub; tries again what may pass, `TRIES` times in all.

    Raises `InputError` with the sentence of `reason`. Errors that are not the hub's pass.
    """
    tried = 0
    while True:
        tried += 1
        try:
            return action()
        except InputError:
            raise
        except Exception as error:
            told, passing = reason(source, error)
            if not told:
                raise
            if not passing or tried == TRIES:
                told += f", asked {tried} times" if passing else ""
                raise InputError(f"hub: cannot download {source} ({told})") from error
            wait = _wait(error, WAIT * 2 ** (tried - 1))
            print(f"hub: {source.repo}: {told}; again in {wait:.0f} s", file=sys.stderr)
            time.sleep(wait)


def _wait(error: Exception, usual: float) -> float:
    """Seconds that the hub asks to wait, or else the usual ones."""
    from huggingface_hub.utils import parse_ratelimit_headers

    answers = [one.response for one in _chain(error) if hasattr(one, "response")]
    headers: Any = answers[0].headers if answers else {}
    limit = parse_ratelimit_headers(headers)
    told = headers.get("Retry-After", "")
    wanted = float(told) if told.isdigit() else 0.0
    if limit is not None and limit.remaining == 0:
        wanted = max(wanted, limit.reset_in_seconds + 1.0)
    return min(max(wanted, usual), LONGEST_WAIT)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
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

    found = list(_chain(error))

    def first(*kinds: type[BaseException]) -> Any:
        return next((one for one in found if isinstance(one, kinds)), None)

    if answer := first(errors.HfHubHTTPError):
        return _refusal(source, answer)
    if first(errors.OfflineModeIsEnabled):
        return "not in the cache, and HF_HUB_OFFLINE is set", False
    if first(errors.HFValidationError):
        return "not the name of a repository, expected OWNER/NAME", False
    if cut := next((one for one in found if "Consistency check failed" in str(one)), None):
        return f"cut off in the middle: {_line(cut)}", True
    if first(httpx2.RemoteProtocolError, httpx2.ReadError):
        return f"cut off in the middle by {constants.ENDPOINT}", True
    if lost := first(httpx2.TransportError):
        return f"no answer from {constants.ENDPOINT} ({type(lost).__name__})", True
    if first(ConnectionError, TimeoutError, errors.LocalEntryNotFoundError):
        return f"no answer from {constants.ENDPOINT}", True
    if broken := next((one for one in found if type(one) is RuntimeError), None):
        return f"the hub's storage: {_line(broken)}", True  # of hf_xet, which has no other type
    if other := first(OSError):
        return _line(other), False
    return "", False


def _refusal(source: Source, error: Any) -> tuple[str, bool]:
    """The same for an answer of the hub that is an error."""
    from huggingface_hub import errors, get_token

    whom = "there is no token" if get_token() is None else "it is closed to your token"
    match error:
        case errors.GatedRepoError():
            cure = f"ask for access at {source.page}, then hf auth login or set HF_TOKEN"
            return f"gated, and {whom}: {cure}", False
        case errors.RevisionNotFoundError():
            return "no such revision", False
        case errors.RepositoryNotFoundError():
            return f"no such repository, or it is private and {whom}", False
        case errors.RemoteEntryNotFoundError():
            return f"no such file: {error.response.url}", False
    status = error.response.status_code
    if status == 401:
        return "the hub refuses your token (401): hf auth login, or unset HF_TOKEN", False
    said = error.response.headers.get("X-Error-Message") or _line(error)
    return f"the hub answers {status}: {said}", status in PASSING


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
