"""What goes wrong with the hub: one sentence each, tried again where it may pass."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from multical.data import hub, hub_datasets
from multical.errors import InputError
from support import hub_repos, hub_server
from support.hub_server import GOOD_TOKEN, STRANGER, Hub, Repo

NOWHERE = "0" * 40


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with hub_server.serve() as served:
        yield served


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture
def served(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> Iterator[Hub]:
    """The hub, with nothing in it and a fresh cache."""
    server.repos.clear()
    server.requests.clear()
    server.point(monkeypatch, tmp_path / "cache")
    hub.check.cache_clear()
    yield server
    server.faults.clear()


@pytest.fixture
def lite(served: Hub) -> Repo:
    return served.add(
        "datasets", "CohereLabs/Global-MMLU-Lite", hub_repos.global_mmlu(["en", "yo"])
    )


def read(repo: Repo, /, **changes: str) -> hub_datasets.Split:
    """The test split in English, or what else is asked for."""
    known = {"repo": repo.name, "revision": repo.revision, "config": "en", "name": "test"}
    return hub_datasets.split(**known | changes)


def sentence(action: Callable[[], Any]) -> str:
    """The one line that an action is refused with."""
    with pytest.raises(InputError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_split_and_its_checksums(served: Hub, lite: Repo) -> None:
    found = read(lite, config="yo")
    assert found.rows.to_list() == hub_repos.global_mmlu_rows("yo", "test", 6)
    path = "yo/test-00000-of-00001.parquet"
    assert found.files == {path: lite.about(path)["lfs"]["oid"]}
    assert hub_datasets.configs(lite.name, lite.revision) == ["en", "yo"]
    # what is in the cache is not downloaded again
    served.requests.clear()
    read(lite, config="yo")
    assert not [path for method, path, _ in served.requests if "parquet" in path]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"revision": NOWHERE}, f"Lite at {NOWHERE} (no such revision)"),
        (
            {"repo": "a/nonesuch"},
            "a/nonesuch at {} (no such repository, or it is private and there",
        ),
        ({"repo": "a/b/c"}, "a/b/c at {} (not the name of a repository, expected OWNER/NAME)"),
        ({"config": "xx"}, "Lite at {}: no config 'xx', found ['en', 'yo']"),
        ({"name": "train"}, "Lite en train: no split 'train', found ['dev', 'test']"),
    ],
)
def test_what_is_not_there(lite: Repo, changes: dict[str, str], said: str) -> None:
    assert said.format(lite.revision) in sentence(lambda: read(lite, **changes))


def test_gated_repositories(
    served: Hub, lite: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.gated = True
    page = f"ask for access at {served.url}/datasets/{lite.name}, then hf auth login"
    assert f"(gated, and there is no token: {page}" in sentence(lambda: read(lite))
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    assert f"(gated, and it is closed to your token: {page}" in sentence(lambda: read(lite))
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    assert "(the hub refuses your token (401): hf auth" in sentence(lambda: read(lite))
    monkeypatch.setenv("HF_TOKEN", GOOD_TOKEN)
    assert len(read(lite).rows) == 6


def test_offline_and_no_network(
    lite: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        said = sentence(lambda: read(lite))
        assert said.endswith("(not in the cache, and HF_HUB_OFFLINE is set)")
    closed = Hub("http://127.0.0.1:9")
    closed.point(monkeypatch, tmp_path / "empty")
    said = sentence(lambda: read(lite))
    assert "(no answer from http://127.0.0.1:9 (ConnectError), asked 5 times)" in said


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("where", ["/api/", "README", ".parquet", ".huggingface.yaml", "/tree/"])
def test_what_passes_is_asked_again(
    served: Hub, lite: Repo, waits: list[float], status: int, where: str
) -> None:
    served.fail(status, where, times=3)
    assert len(read(lite).rows) == 6
    assert waits
    assert served.faults[-1].times == 0


def test_what_does_not_pass(
    served: Hub, lite: Repo, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    served.fail(429, "/api/", times=float("inf"))
    said = sentence(lambda: read(lite))
    assert said.startswith(
        f"hub: cannot download {lite.name} at {lite.revision} (the hub answers 429"
    )
    assert said.endswith(", asked 5 times)")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hub: ")]
    assert [line.split("; ")[-1] for line in lines] == ["again in 8 s"] * 3 + ["again in 16 s"]
    assert waits[-4:] == [8, 8, 8, 16]  # that the hub asks for, a second more, and our own
    served.faults.clear()
    served.fail(403, "/api/")
    assert "(the hub answers 403: a fault that was asked for)" in sentence(lambda: read(lite))
    assert len(waits) == 4  # that does not pass


def test_no_other_commit_is_taken_from_the_cache(served: Hub, lite: Repo) -> None:
    """Once the hub fails, `datasets` takes what it holds of a data set, of any commit."""
    assert len(read(lite).rows) == 6
    rows = hub_repos.global_mmlu_rows("en", "test", 5)
    newer = served.add("datasets", lite.name, hub_repos.global_mmlu(["en", "yo"], en=rows))
    served.fail(500, "README", times=float("inf"))
    assert "asked 5 times" in sentence(lambda: read(newer))
    served.faults.clear()
    assert len(read(newer).rows) == 5


def test_a_file_that_is_cut_off(
    served: Hub, lite: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    served.cut("en/test", times=2)
    assert read(lite).rows.to_list() == hub_repos.global_mmlu_rows("en", "test", 6)
    assert 206 in {status for _, path, status in served.requests if "en/test" in path}
    served.cut("yo/test", times=float("inf"))
    assert "cut off in the middle" in sentence(lambda: read(lite, config="yo"))
    assert not [path for path in (tmp_path / "cache").rglob("*") if "yo/test" in str(path)]


def test_files_that_are_not_what_they_say(served: Hub, lite: Repo) -> None:
    files = lite.files | {"en/test-00000-of-00001.parquet": b"PAR1 and then nothing of it"}
    broken = served.add("datasets", "a/broken", files)
    said = sentence(lambda: read(broken))
    assert said.startswith("a/broken en test: not a data set as its card says (")
    files = lite.files | {"README.md": b"---\nconfigs: [\n---\n"}
    card = served.add("datasets", "a/card", files)
    assert ": its card is not readable (while" in sentence(lambda: read(card))


def test_models(served: Hub, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"12345678", "y.bin": b"no"}
    files |= {"x/model.safetensors": b"no", "consolidated.safetensors": b"no"}
    model = served.add("models", "a/model", files, gated=True)
    wanted, ignored = ["*.json", "*.safetensors"], ["*/*", "consolidated*"]
    get = lambda: hub.snapshot(model.name, model.revision, wanted, ignored)  # noqa: E731
    assert f"ask for access at {served.url}/a/model" in sentence(get)
    model.gated = False
    served.fail(503, "config.json", times=2)
    served.cut("safetensors")
    folder = get()
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    assert found == {name: files[name] for name in ("config.json", "model.safetensors")}


@pytest.mark.parametrize(
    ("error", "said", "tries"),
    [
        (RuntimeError("CAS: 503"), "the hub's storage: CAS: 503, asked 5 times", 5),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device", 1),
        (TimeoutError("slow"), "no answer from {}, asked 5 times", 5),
    ],
)
def test_other_errors_while_downloading(
    waits: list[float], error: Exception, said: str, tries: int
) -> None:
    source = hub.Source("model", "a/b", NOWHERE)

    def fail() -> None:
        raise error

    expected = f"hub: cannot download a/b at {NOWHERE} ({said.format(constants.ENDPOINT)})"
    assert sentence(lambda: hub.call_hub(source, fail)) == expected
    assert waits == [2, 4, 8, 16][: tries - 1]


def test_errors_of_ours_pass() -> None:
    source = hub.Source("model", "a/b", NOWHERE)
    with pytest.raises(ZeroDivisionError):
        hub.call_hub(source, lambda: 1 / 0)
    assert re.fullmatch("a/b at 0+", str(source))
