"""`make fetch`: all that needs a network, and nothing else; a study then runs without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import checkout, forks, hub_server, hub_study
from support.checkout import SNAKEMAKE
from support.hub_server import GOOD_TOKEN, Hub
from support.hub_study import STUDY

pytestmark = pytest.mark.workflow

LIST = Path("results/inputs/fetched.sha256")
BENCHMARK = "results/inputs/benchmarks/prox.parquet"
#: On Python's path: notes each attempt of any process to reach another machine
SPY = """
import socket, sys

def note(event, arguments):
    if event == "socket.getaddrinfo" or (
        event == "socket.connect" and arguments[0].family != socket.AF_UNIX
    ):
        with open({file!r}, "a") as stream:
            print(event, *arguments, sys.argv, file=stream)

sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server.serve() as served:
        yield served


@pytest.fixture(scope="module")
def clone(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hub_study.make(tmp_path_factory.mktemp("clone"), hub)


def fetch(clone: Path, hub: Hub, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a clone, with the hub as the only one."""
    environ = hub.environment(clone / "cache") | forks.environment() | more
    return forks.run([sys.executable, "tools/fetch.py", "--study", STUDY], cwd=clone, env=environ)


def fetched(clone: Path) -> list[str]:
    """The files that the list has, each with the content that it says."""
    checked = subprocess.run(
        ["sha256sum", "--check", LIST], cwd=clone, capture_output=True, text=True, check=True
    )
    return [line.removesuffix(": OK") for line in checked.stdout.splitlines()]


def test_what_is_gated_is_told_and_all_else_is_fetched(clone: Path, hub: Hub) -> None:
    done = fetch(clone, hub)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: {STUDY}: not fetched: model tiny; the same command goes on"
    )
    told = done.stdout.splitlines()
    gated = f"lab/tiny is gated, and closed without a token -> ask at {hub.url}/lab/tiny, then"
    assert f"error    model tiny: {gated} hf auth login" in told
    assert "ok       sft data hermes: not fetched yet; lab/hermes at the hub is open to you" in told
    found = {Path(file).name for file in fetched(clone)}
    assert found == {
        "mmlu.parquet", "mmlu.names.csv", "mmlu.about.json",
        "prox.parquet", "prox.names.csv", "prox.about.json",
        "reading.parquet", "reading.names.csv", "reading.about.json",
        "hermes.jsonl", "hermes.about.json",
    }  # fmt: skip


def test_the_same_command_goes_on_and_makes_nothing_else(clone: Path, hub: Hub) -> None:
    before = len(hub.requests)
    done = fetch(clone, hub, HF_TOKEN=GOOD_TOKEN)
    assert done.returncode == 0, done.stderr
    gated = "lab/tiny at the hub is gated, and open to you"
    assert f"ok       model tiny: not fetched yet; {gated}" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == f"{STUDY}: all is here"
    assert "1 of 1 jobs" in done.stderr
    assert not [path for _, path, _ in hub.requests[before:] if "datasets" in path]
    names = {Path(file).name for file in fetched(clone)}
    assert {"manifest.json", "model.safetensors", "prox.parquet"} <= names
    assert not (clone / STUDY).exists()


def test_with_all_here_nobody_is_asked(clone: Path, hub: Hub) -> None:
    before = len(hub.requests)
    done = fetch(clone, hub, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert len(hub.requests) == before


def test_another_content_is_found(clone: Path, hub: Hub) -> None:
    file = clone / BENCHMARK
    content, status = file.read_bytes(), file.stat()
    file.write_bytes(content[:-1])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = fetch(clone, hub)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: {BENCHMARK}: its content is not what was fetched; remove {BENCHMARK}, and fetch "
        "it again"
    )
    file.unlink()
    assert fetch(clone, hub).returncode == 0
    assert file.read_bytes() == content


def without_network() -> list[str]:
    """The start of a command that has no network; the test is skipped where nobody may do that."""
    prefix = ["unshare", "--map-root-user", "--net"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespace may be made here: {tried.stderr.strip()}")
    return prefix


@pytest.mark.smoke
def test_a_study_that_is_fetched_needs_no_network(smoke: Path, tmp_path: Path) -> None:
    """A dry run, a job that runs a model, a figure, a report: none even tries to reach anyone."""
    prefix = without_network()
    checkout.copy_made(smoke, tmp_path, "inputs", "smoke")
    said: list[str] = []
    asked, spy = tmp_path / "asked", tmp_path / "spy/sitecustomize.py"
    spy.parent.mkdir()
    spy.write_text(SPY.format(file=str(asked)))
    records = "results/smoke/records/smollm2-135m-instruct/cldr-facts.parquet"
    figure = "results/smoke/figures/ece_by_lang.pdf"
    text = (tmp_path / "Snakefile").read_text(encoding="utf-8")
    cleared = text.replace("surroundings.clear(os.environ)", "[]")  # let the spy into jobs
    assert cleared != text
    (tmp_path / "Snakefile").write_text(cleared, encoding="utf-8")
    environ = os.environ | {"PYTHONPATH": str(spy.parent), "HF_HOME": str(tmp_path / "hf")}
    for command in (
        [sys.executable, "tools/fetch.py", "--study", "results/smoke"],
        [*SNAKEMAKE, "--dry-run", "--", checkout.TARGET],
        [*SNAKEMAKE, "--force", "--", figure],
        [*SNAKEMAKE, "--report", "report.html", "--", figure],
        [*SNAKEMAKE, "--force", "--", records],  # the last one, after which figures are stale
    ):
        done = subprocess.run(
            [*prefix, *command], cwd=tmp_path, env=environ, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        said.append(done.stdout + done.stderr)
        assert done.returncode == 0, said[-1]
    assert "rule plot_ece_by_lang:" in said[2]
    assert "rule score_run:" in said[4]
    assert not asked.exists(), asked.read_text()


def test_the_spy_sees_an_attempt(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SPY.format(file=str(tmp_path / "asked")))
    code = "import urllib.request as r; r.urlopen('http://hub.invalid')"
    subprocess.run(
        [*without_network(), sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, check=False,
    )  # fmt: skip
    assert "hub.invalid" in (tmp_path / "asked").read_text()
