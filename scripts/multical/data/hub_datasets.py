"""Data sets of the hub at one commit, through `datasets`: rows, and checksums of their files.

We download the files one by one into the cache of the hub's client (`multical.data.hub` repeats
failed downloads). Then we read JSON and CSV files (`multical.data.hub_texts`), and `datasets` reads
Parquet files into its own cache, as the card of the data set specifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multical.data import hub_texts
from multical.data.hub import Source, call_hub, chain, check, one_line
from multical.errors import InputError
from multical.files import sha256

if TYPE_CHECKING:
    from datasets import Dataset

    from multical.data.hub_texts import Table

#: Formats that we read: tables and text, which cannot contain code
FORMATS = ("parquet", "json", "csv")


@dataclass(frozen=True)
class Split:
    """Rows of one split of one config, and the files that they were read from."""

    place: str  # repository, config and split, for error messages
    rows: Dataset | Table
    files: dict[str, str]  # SHA-256 by path in the repository

    def needs(self, columns: Sequence[str]) -> None:
        """Raise `InputError` if any of the columns is missing."""
        if missing := [name for name in columns if name not in self.rows.column_names]:
            columns = sorted(self.rows.column_names)
            raise InputError(f"{self.place}: no columns {missing}, found {columns}")


def configs(repo: str, revision: str | None) -> list[str]:
    """The configs of a data set, such as its languages, sorted."""
    import datasets

    source = Source("dataset", repo, revision)
    check(source)
    names = call_hub(source, lambda: datasets.get_dataset_config_names(repo, revision=revision))
    return sorted(names)


def split(repo: str, revision: str | None, config: str | None, name: str) -> Split:
    """Download and read one split of a config, by default of the default config.

    Raises `InputError` if there is no such config or split, and if files differ from the card of
    the data set.
    """
    source = Source("dataset", repo, revision)
    check(source)
    builder = _builder(source, config)
    if builder.name not in FORMATS:
        sentence = f"found files of the format {builder.name}, expected one of {list(FORMATS)}"
        raise InputError(f"{source}: {sentence}")
    files = {key: _paths(source, urls) for key, urls in (builder.config.data_files or {}).items()}
    place = " ".join(filter(None, [repo, config, name]))
    if name not in files:
        raise InputError(f"{place}: no split {name!r}, found {sorted(map(str, files))}")
    paths = {file: _download(source, file) for listed in files.values() for file in listed}
    rows: Dataset | Table
    if builder.name == "parquet":
        rows = _prepared(builder, name, place)
    else:
        rows = hub_texts.read(_extracted(files[name], paths, place), builder.config)
    return Split(place, rows, {file: sha256(paths[file]) for file in files[name]})


def _builder(source: Source, config: str | None) -> Any:
    """The `datasets` builder of a config."""
    import datasets
    import yaml

    datasets.disable_progress_bars()

    def load() -> Any:
        try:
            builder = datasets.load_dataset_builder(source.repo, config, revision=source.revision)
        except yaml.YAMLError as error:
            raise InputError(f"{source}: its card is not readable ({one_line(error)})") from error
        except ValueError as error:
            if "BuilderConfig" not in str(error):
                raise
            names = configs(source.repo, source.revision)
            raise InputError(f"{source}: no config {config!r}, found {names}") from error
        for urls in (builder.config.data_files or {"": []}).values():
            if not urls or not all(url.startswith(_root(source)) for url in urls):
                # if the hub fails, datasets uses its cache, which may hold another commit
                raise ConnectionError("the hub did not list the files")
        return builder

    return call_hub(source, load)


def _root(source: Source) -> str:
    return f"hf://datasets/{source.repo}@{source.revision}/"


def _paths(source: Source, urls: Sequence[str]) -> list[str]:
    return [url.removeprefix(_root(source)) for url in urls]


def _download(source: Source, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    def get() -> str:
        path: str = hf_hub_download(
            source.repo, file, repo_type=source.kind, revision=source.revision
        )
        return path

    return Path(call_hub(source, get))


def _extracted(names: Sequence[str], paths: dict[str, Path], place: str) -> list[tuple[str, Path]]:
    """The names of files, and the files in them if they are compressed, for `hub_texts.read`."""
    import datasets

    manager = datasets.DownloadManager()
    return [
        (f"{place}: {name}", Path(path))
        for name in names
        for path in manager.iter_files(manager.extract(str(paths[name])))
    ]


def _prepared(builder: Any, split: str, place: str) -> Dataset:
    """The rows of a split whose files are already in the cache."""
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
