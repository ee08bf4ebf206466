"""Data sets of the hub at one commit, through `datasets`: rows, and checksums of their files.

Files are downloaded into the hub's own cache one by one (`multical.data.hub` says what is tried
again), then `datasets` reads them as the data set's card says, into its own cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multical.data.hub import Source, call_hub, chain, check, one_line
from multical.errors import InputError
from multical.files import sha256

if TYPE_CHECKING:
    from datasets import Dataset


#: Formats that are read: tables and text, nothing that could hold code
FORMATS = ("parquet", "json", "csv")


class OddRowError(Exception):
    """A row that is no question or conversation: what is wrong with it."""


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


def configs(repo: str, revision: str | None) -> list[str]:
    """The configs of a data set, such as its languages, sorted."""
    import datasets

    source = Source("dataset", repo, revision)
    check(source)
    found = call_hub(source, lambda: datasets.get_dataset_config_names(repo, revision=revision))
    return sorted(found)


def split(repo: str, revision: str | None, config: str | None, name: str) -> Split:
    """Download and read one split, of the default config where `config` is null.

    Raises `InputError` for a config or split that is not there, and for files that are not
    as the data set's card says.
    """
    source = Source("dataset", repo, revision)
    check(source)
    builder = _builder(source, config)
    if builder.name not in FORMATS:
        found = f"files of the format {builder.name}"
        raise InputError(f"{source}: found {found}, expected one of {list(FORMATS)}")
    files = {key: _pinned(source, urls) for key, urls in (builder.config.data_files or {}).items()}
    place = " ".join(filter(None, [repo, config, name]))
    if name not in files:
        raise InputError(f"{place}: no split {name!r}, found {sorted(map(str, files))}")
    paths = {file: _download(source, file) for each in files.values() for file in each}
    rows = _prepared(builder, name, place)
    return Split(place, rows, {file: sha256(paths[file]) for file in files[name]})


def _builder(source: Source, config: str | None) -> Any:
    """The builder of `datasets` for a config."""
    import datasets
    import yaml

    datasets.disable_progress_bars()

    def load() -> Any:
        try:
            found = datasets.load_dataset_builder(source.repo, config, revision=source.revision)
        except yaml.YAMLError as error:
            raise InputError(f"{source}: its card is not readable ({one_line(error)})") from error
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

    return call_hub(source, load)


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

    return Path(call_hub(source, get))


def _prepared(builder: Any, split: str, place: str) -> Dataset:
    """The rows of a split whose files are in the cache."""
    import datasets.exceptions
    import pyarrow

    try:
        builder.download_and_prepare()
        rows: Dataset = builder.as_dataset(split=split)
    except (datasets.exceptions.DatasetsError, pyarrow.ArrowException, ValueError) as error:
        *_, cause = chain(error)
        raise InputError(f"{place}: not a data set as its card says ({one_line(cause)})") from error
    except OSError as error:
        raise InputError(f"{place}: cannot be prepared ({one_line(error)})") from error
    return rows
