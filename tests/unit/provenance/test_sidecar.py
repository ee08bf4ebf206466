"""The sidecar: complete, verifiable, and anonymous."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Any

import pytest

from multical.errors import InputError
from multical.fixity import Inputs
from multical.provenance import sidecar as provenance


@pytest.fixture
def sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    folder = tmp_path / "somebodys-home"
    (folder / "results").mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder / "results" / "metrics.csv").write_text("a,b\n1,2\n")
    (tmp_path / "elsewhere.csv").write_text("x\n")
    (folder / "results" / "figure.pdf").write_text("drawn\n")
    provenance.write_sidecar(
        "results/figure.json",
        study="results/demo",
        target="results/demo/figures/figure.pdf",
        params={"model": {"folder": str(tmp_path / "models" / "mine")}, "b": 0.1, "n": [1, None]},
        code="0123abcd",
        inputs=Inputs([folder / "results" / "metrics.csv", tmp_path / "elsewhere.csv"]),
        outputs=[folder / "results" / "figure.pdf"],
        started=time.monotonic() - 2.0,
        seed=7,
    )
    found: dict[str, Any] = json.loads((folder / "results" / "figure.json").read_text())
    return found


def test_says_what_was_read_and_run(sidecar: dict[str, Any]) -> None:
    assert sidecar["inputs"] == {
        "results/metrics.csv": hashlib.sha256(b"a,b\n1,2\n").hexdigest(),
        "elsewhere.csv": hashlib.sha256(b"x\n").hexdigest(),
    }
    assert sidecar["outputs"] == {"results/figure.pdf": hashlib.sha256(b"drawn\n").hexdigest()}
    assert (sidecar["study"], sidecar["code"], sidecar["seed"]) == ("results/demo", "0123abcd", 7)
    assert sidecar["rebuild"].endswith(" results/demo/figures/figure.pdf")
    assert 2.0 <= sidecar["wall_seconds"] < 30
    assert sidecar["machine"]["cpus"] >= 1
    assert sidecar["machine"]["memory_gib"] > 0
    assert sidecar["python"] == platform.python_version()


def test_names_nobody_and_no_place(sidecar: dict[str, Any], tmp_path: Path) -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [t for item in value.items() for part in item for t in texts(part)]
        if isinstance(value, list):
            return [t for part in value for t in texts(part)]
        return [str(value)]

    for text in texts(sidecar):
        assert not Path(text).is_absolute()
        assert str(tmp_path) not in text
        assert platform.node() not in text.split()
        assert getpass.getuser() not in text.split()
    assert sidecar["params"]["model"]["folder"] == "mine"


def test_parameters_are_canonical() -> None:
    assert provenance.canonical({"b": [1, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,null]}'
    assert provenance.canonical({"a": 1, "b": 2}) == provenance.canonical({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="JSON"):
        provenance.canonical({"a": float("nan")})


def test_hash_of_parameters_is_of_the_canonical_text(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    params = {"smoothing": 0.1, "benchmark": "cldr-facts"}
    provenance.write_sidecar(
        path,
        study="s",
        target="t",
        params=params,
        code="c",
        inputs=Inputs([]),
        outputs=[],
        started=0.0,
        seed=None,
    )
    found = json.loads(path.read_text())
    text = '{"benchmark":"cldr-facts","smoothing":0.1}'
    assert found["params_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert found["seed"] is None


def test_libraries_are_direct_imported_ones() -> None:
    import numpy

    found = provenance.libraries()
    assert found["numpy"] == numpy.__version__
    assert "pytest" in found  # direct, and imported here
    assert "iniconfig" not in found  # imported by pytest alone


def test_an_input_that_changed_meanwhile_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1\n")
    inputs = Inputs([tmp_path / "a.csv"])
    (tmp_path / "a.csv").write_text("2\n")
    with pytest.raises(InputError, match=r"a\.csv: changed while it was read"):
        provenance.write_sidecar(
            tmp_path / "s.json", study="s", target="t", params={}, code="c",
            inputs=inputs, outputs=[], started=0.0, seed=None,
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_that_is_a_link_counts_as_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("disk", "here/logs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "here/results").symlink_to(tmp_path / "disk")
    (tmp_path / "by").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    cases: dict[str | Path, str] = {
        "results/a.csv": "results/a.csv",
        "logs/../results/./a.csv": "results/a.csv",
        tmp_path / "here/results/a.csv": "results/a.csv",
        tmp_path / "by/logs/a.log": "logs/a.log",  # the folder itself by a link
        tmp_path / "disk/a.csv": "a.csv",
        "../else/a.csv": "a.csv",
    }
    for path, expected in cases.items():
        assert provenance.relative(path) == expected


def test_a_change_by_hand_is_found_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where results are a link to another disk; names are those of a plain folder."""
    (tmp_path / "disk/demo").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("results").symlink_to(tmp_path / "disk")
    Path("results/demo/a.csv").write_text("1\n")
    Path("results/demo/a.pdf").write_text("drawn\n")
    sidecar = Path("results/demo/a.json")
    provenance.write_sidecar(
        sidecar, study="results/demo", target="results/demo/a.pdf", params={}, code="c",
        inputs=Inputs(["results/demo/a.csv"]), outputs=["results/demo/a.pdf"], started=0.0,
        seed=None,
    )  # fmt: skip
    found = json.loads(sidecar.read_text())
    assert [*found["inputs"], *found["outputs"]] == ["results/demo/a.csv", "results/demo/a.pdf"]
    provenance.check(sidecar)
    Path("results/demo/a.pdf").write_text("other\n")
    with pytest.raises(InputError, match=r"^results/demo/a\.pdf: changed since it was made"):
        provenance.check(sidecar)
