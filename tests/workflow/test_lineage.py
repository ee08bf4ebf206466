"""make provenance's program on a tiny study: what it says of a figure, and of what was touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from multical import paths
from multical.dag.lineage import Lineage, Step, seeds
from multical.provenance import hosts
from support import checkout, forks
from support.crates import VALIDATOR, validated
from support.tiny_study import drawn_study, snakemake

FIGURE = "results/tiny/figures/ece_by_resource.pdf"
TABLE = "results/tiny/summary.csv"
RECORDS = "results/tiny/records/little.own.ls0.1.s0/quiz.parquet"
pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a tiny study: stubs of what needs a model, and a real figure."""
    folder = checkout.copy(tmp_path_factory.mktemp("made"))
    drawn_study(folder)
    snakemake(folder, FIGURE)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """One to change things in."""
    return shutil.copytree(made, tmp_path / "copy", symlinks=True)


def provenance(folder: Path, *arguments: str) -> Any:
    return forks.run(
        [sys.executable, "tools/show_provenance.py", *arguments],
        cwd=folder,
    )


def traced(folder: Path, target: str = FIGURE) -> dict[str, Any]:
    """The lineage as JSON, with the program's exit code and text."""
    done = provenance(folder, target, "--json", "said.json")
    assert done.stderr == ""
    found: dict[str, Any] = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    return found | {"code": done.returncode, "text": done.stdout}


def breaks(found: dict[str, Any]) -> list[str]:
    return [line for step in found["steps"] for line in step["breaks"]]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_figure_is_traced_to_all_that_it_was_made_from(made: Path) -> None:
    found = traced(made)
    assert (found["code"], breaks(found)) == (0, [])
    titles = [step["title"] for step in found["steps"]]
    assert titles == [
        "fetch_model little", "make_benchmark quiz", "make_sft_data own", "score_run little quiz",
        "train_sft little.own.ls0.1.s0", "train_sft little.own.ls0.s0",
        "score_run little.own.ls0.1.s0 quiz", "score_run little.own.ls0.s0 quiz",
        "compute_metrics", "plot_ece_by_resource",
    ]  # fmt: skip
    assert found["rebuild"] == f"snakemake --cores all {FIGURE}"
    given = {
        name: digest(made / name)
        for name in ("little/config.json", "quiz.jsonl", "own.jsonl", paths.STYLE)
    }
    assert found["given"] == given
    steps = dict(zip(titles, found["steps"], strict=True))
    plot, trained = steps["plot_ece_by_resource"], steps["train_sft little.own.ls0.1.s0"]
    assert plot["inputs"] == {name: digest(made / name) for name in (TABLE, paths.STYLE)}
    assert plot["outputs"][FIGURE] == digest(made / FIGURE)
    assert plot["machines"][0]["cpus"] >= 1
    assert "matplotlib" in plot["libraries"]
    assert not plot["pinned"]
    assert (trained["settings"]["smoothing"], trained["seeds"]) == (0.1, {"seed": 0})
    assert trained["pinned"]
    assert len(trained["code"]) == 16
    assert trained["seconds"] > 0
    (source,) = steps["make_benchmark quiz"]["sources"]
    assert source["files"] == {"quiz.jsonl": given["quiz.jsonl"]}
    assert "machines" in trained["gaps"]  # the stub tells of none, and that is said
    assert steps["compute_metrics"]["machines"][0]["cpus"] >= 1  # where Snakemake ran
    assert str(made) not in json.dumps(found)
    for part in (FIGURE, found["rebuild"], given["quiz.jsonl"], trained["code"], "Not recorded"):
        assert part in found["text"]


def test_machines_by_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "FILE", tmp_path / "new" / "machines.jsonl")
    assert hosts.at(9e9) is None
    for name in ("a", "a", "b", "a"):
        monkeypatch.setattr(hosts, "machine", lambda name=name: {"cpu": name})
        hosts.record()
    with hosts.FILE.open("ab") as stream:
        stream.write(b'{"since": 5\xff')  # cut short by a full disk, and damaged
    monkeypatch.setattr(hosts, "machine", lambda: {"cpu": "c"})
    hosts.record()
    lines = hosts.FILE.read_text(encoding="utf-8", errors="replace").splitlines()
    since = [json.loads(line)["since"] for line in [*lines[:3], *lines[4:]]]
    assert [hosts.at(one) for one in since] == [{"cpu": cpu} for cpu in "abac"]
    assert hosts.at(since[0] - 1) is None


def test_a_table_that_was_changed_by_hand(copy: Path) -> None:
    with open(copy / TABLE, "a", encoding="utf-8") as stream:
        stream.write("\n")
    found = traced(copy)
    assert found["code"] == 1
    assert f"{TABLE}: its content is not that which plot_ece_by_resource read" in breaks(found)
    assert "Not as it was recorded" in found["text"]


def test_a_figure_that_was_replaced_at_the_same_time_of_day(copy: Path) -> None:
    then = (copy / FIGURE).stat()
    (copy / FIGURE).write_bytes(b"%PDF another")
    os.utime(copy / FIGURE, ns=(then.st_atime_ns, then.st_mtime_ns))
    (said,) = breaks(traced(copy))
    assert said == f"{FIGURE}: its content is not that which plot_ece_by_resource made"


def test_what_was_written_again(copy: Path) -> None:
    sidecar = FIGURE.replace(".pdf", ".json")
    for name in (sidecar, RECORDS):  # touched: their content is recorded
        os.utime(copy / name, (4e9, 4e9))
    assert breaks(traced(copy)) == []
    record = copy / ".snakemake/metadata" / urlsafe_b64encode(sidecar.encode()).decode()
    old = json.loads(record.read_text(encoding="utf-8"))
    del old["input_checksums"][sidecar]  # as in a record of before
    record.write_text(json.dumps(old), encoding="utf-8")
    (said,) = breaks(traced(copy))
    assert said == f"{sidecar}: written again after plot_ece_by_resource had made it"


def test_what_is_gone_or_differs_from_its_manifest(copy: Path) -> None:
    (copy / RECORDS).unlink()
    weights = copy / "results/tiny/runs/little.own.ls0.s0/checkpoint/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    said = breaks(traced(copy))
    assert f"{RECORDS}: gone" in said
    assert any("model.safetensors: its content is not the one listed" in line for line in said)


def test_without_what_snakemake_recorded(copy: Path) -> None:
    shutil.rmtree(copy / ".snakemake")
    shutil.rmtree(copy / "logs")
    found = traced(copy)
    assert all(any("no record" in gap for gap in step["gaps"]) for step in found["steps"])
    trained = next(step for step in found["steps"] if step["rule"] == "train_sft")
    assert {"settings", "code", "seconds", "libraries"} <= set(trained["gaps"])
    assert found["steps"][-1]["settings"]["benchmark"] == "quiz"  # of the sidecar


def test_what_would_be_made_again(copy: Path) -> None:
    text = (copy / "config.yaml").read_text(encoding="utf-8")
    (copy / "config.yaml").write_text(text.replace("steps: 2", "steps: 3"), encoding="utf-8")
    found = traced(copy)
    assert "config.yaml: studies.results/tiny.training.steps 2 -> 3" in found["text"]
    trained = next(step for step in found["steps"] if step["rule"] == "train_sft")
    assert trained["settings"]["steps"] == 2  # as it was made


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("results/tiny/figures/none.pdf", "no rule makes it"),
        ("results/tiny/figures/ece_by_lang.pdf", "no such file, expected one that was made"),
    ],
)
def test_what_cannot_be_traced(made: Path, target: str, said: str) -> None:
    done = provenance(made, target)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {target}: {said}")
    assert done.stderr.count("\n") == 1


def test_seeds_are_found_at_any_depth() -> None:
    settings = {"seed": 1, "bootstrap": {"seed": 2}, "bootstrap_seed": 3, "seeds": 9, "n": None}
    assert dict(seeds(settings)) == {"seed": 1, "bootstrap.seed": 2, "bootstrap_seed": 3}


HUB = {"kind": "hub", "repo": "a/b"}


@pytest.mark.parametrize(
    ("name", "settings", "folders", "withheld"),
    [
        ("results/inputs/benchmarks/a.parquet", {"source": HUB}, [], True),
        ("results/inputs/sft/a.jsonl", {"source": {"kind": "file", "path": "own"}}, [], True),
        ("results/inputs/benchmarks/a.about.json", {"source": HUB}, [], False),
        ("results/inputs/benchmarks/a.names.csv", {"source": HUB}, [], False),
        ("results/inputs/benchmarks/a.parquet", {"source": {"kind": "cldr"}}, [], False),
        ("results/inputs/models/m/manifest.json", {"source": {"kind": "hub"}}, [], False),
        ("results/tiny/runs/r/checkpoint", {"run": "r"}, ["results/tiny/runs/r/checkpoint"], True),
        ("results/tiny/records/r/a.parquet", {"run": "r", "benchmark": "a"}, [], False),
    ],
)
def test_weights_and_data_of_others_are_withheld(
    name: str, settings: dict[str, Any], folders: list[str], withheld: bool
) -> None:
    of = {kind: "a" for kind in ("benchmark", "sft") if f"/{kind}" in name}
    step = Step("any", of, {}, {name: "0"}, settings=settings, folders=folders)
    lineage = Lineage(["x"], [step])
    assert lineage.withheld() == ({name} if withheld else set())
    assert lineage.withheld(["a"]) == set(folders)


def test_the_crate(made: Path, tmp_path: Path) -> None:
    crates = [tmp_path / "one", tmp_path / "two"]
    for crate in crates:
        assert provenance(made, FIGURE, "--crate", str(crate)).returncode == 0
    one, two = (
        {file.relative_to(crate): file.read_bytes() for file in crate.rglob("*") if file.is_file()}
        for crate in crates
    )
    assert one == two
    assert one[Path(FIGURE)] == (made / FIGURE).read_bytes()
    graph = json.loads(one[Path("ro-crate-metadata.json")])["@graph"]
    runs = [each for each in graph if each["@type"] == "CreateAction"]
    assert len(runs) == 10 + 1
    assert str(made) not in json.dumps(graph)
    done = provenance(made, FIGURE, "--crate", str(crates[0]))
    assert "exists already, expected a new folder" in done.stderr


@pytest.mark.skipif(not VALIDATOR.exists(), reason="no roc-validator: make test installs it")
def test_the_crate_is_valid(made: Path, tmp_path: Path) -> None:
    crate = tmp_path / "crate"
    assert provenance(made, FIGURE, "--crate", str(crate)).returncode == 0
    assert validated(crate) == (0, "")
    metadata = crate / "ro-crate-metadata.json"
    text = metadata.read_text(encoding="utf-8")
    metadata.write_text(text.replace('"instrument"', '"tool"'), encoding="utf-8")
    code, said = validated(crate)
    assert code == 1
    assert "The Action MUST have an instrument property" in said
