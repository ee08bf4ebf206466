"""The download of the released outputs, from a server on this machine."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from import_released import source
from multical.data import released
from multical.data.release_params import Release
from multical.errors import InputError
from support import released_data as data

COMMIT = "0" * 40


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a repository that serves a release as code hosts do: one folder, gzipped."""
    monkeypatch.delenv("MSP_V2_ARCHIVE", raising=False)
    data.write(tmp_path / "main_results")
    folder = tmp_path / "site" / "archive"
    folder.mkdir(parents=True)
    with tarfile.open(folder / f"{COMMIT}.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "main_results", f"release-{COMMIT}/main_results")
    handler = partial(Quiet, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def load(address: str) -> pd.DataFrame:
    contents = released.files(address, "main_results")
    return released.records(
        contents, models=data.MAX_LOGITS, datasets=data.DATASETS, prompts=data.PROMPTS
    )[0]


def address(repository: str, commit: str = COMMIT) -> str:
    # a real one has https
    return source(
        Release.model_construct(repository=repository, commit=commit, variable="MSP_V2_ARCHIVE")
    )


def test_download_is_the_release(repository: str, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(load(address(repository)), load(str(tmp_path / "main_results")))


def test_a_commit_that_is_not_there(repository: str) -> None:
    with pytest.raises(InputError, match=r"no download \(.*"):
        load(address(repository, "1" * 40))


def test_a_download_that_is_cut(repository: str, tmp_path: Path) -> None:
    path = tmp_path / "site" / "archive" / f"{COMMIT}.tar.gz"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a whole tar archive"):
        load(address(repository))


def test_the_environment_goes_first(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSP_V2_ARCHIVE", "elsewhere.tar")
    assert address(repository) == "elsewhere.tar"
    other = Release.model_construct(repository=repository, commit=COMMIT, variable="ANOTHER")
    assert source(other) == f"{repository}/archive/{COMMIT}.tar.gz"
