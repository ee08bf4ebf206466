"""What Snakemake overlooks: does it still, and does the patched one see it?"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import snakemake.api
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from multical.patches import snakemake as patches
from support import forks

SNAKEFILE = f"""
import sys

sys.path.insert(0, {str(Path(patches.__file__).parents[2])!r})
from multical.patches.snakemake import patch_snakemake

if "left" in config:
    patch_snakemake(config["left"].split(","))


rule copy:
    input: "given.txt"
    output: "made.txt"
    shell: "cp given.txt made.txt"
"""
LARGE = "x" * 1_100_000


def run(folder: Path, *options: str) -> str:
    command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "1", *options]
    done = forks.run(command, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def stale(folder: Path, *config: str) -> bool:
    said = run(folder, "--dry-run", *(["--config", *config] if config else []))
    return "Nothing to be done" not in said


def write_old(folder: Path, text: str) -> None:
    """Put a file in place of the input, with the time of before."""
    file, before = folder / "given.txt", (folder / "given.txt").stat()
    file.write_text(text, encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def add_output(folder: Path) -> None:
    """Have the rule make a file more, one that is there."""
    text = (folder / "Snakefile").read_text(encoding="utf-8")
    (folder / "Snakefile").write_text(text.replace('"made.txt"', '"made.txt", "more.txt"'))
    (folder / "more.txt").write_text("of another rule\n", encoding="utf-8")


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        pytest.param(lambda folder: write_old(folder, "y" * 9), True, id="an older file"),
        pytest.param(lambda folder: (folder / "given.txt").touch(), False, id="a touched file"),
        pytest.param(add_output, True, id="an output more"),
    ],
)
def test_snakemake_alone_is_wrong(
    tmp_path: Path, change: Callable[[Path], None], seen: bool
) -> None:
    """Else the patch is no longer needed for this."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    (tmp_path / "given.txt").write_text(LARGE, encoding="utf-8")
    time.sleep(0.1)
    run(tmp_path, "--config", "left=none")
    assert not stale(tmp_path, "left=none")
    change(tmp_path)
    assert stale(tmp_path) is not seen
    assert stale(tmp_path, "left=none") is seen
    if change is add_output:
        assert not stale(tmp_path, "left=more.txt")


@pytest.mark.workflow
def test_what_a_failed_job_did_not_make_is_not_recorded(tmp_path: Path) -> None:
    """Snakemake alone takes a file for made by the failed job, whoever makes it later."""
    text = SNAKEFILE.replace("cp given.txt made.txt", "exit 3")
    (tmp_path / "given.txt").write_text("x", encoding="utf-8")
    for patched in (False, True):
        (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
        left = ["--config", "left=none"] if patched else []
        command = [str(Path(sys.executable).with_name("snakemake")), "--cores", "1", *left]
        assert forks.run(command, cwd=tmp_path).returncode == 1
        (tmp_path / "made.txt").write_text("of a process that was left behind", encoding="utf-8")
        assert stale(tmp_path, *left[1:]) is patched
        (tmp_path / "made.txt").unlink()


@pytest.mark.parametrize(("error", "traced"), [("InputError", False), ("ValueError", True)])
def test_a_sentence_has_no_traceback(tmp_path: Path, error: str, traced: bool) -> None:
    text = SNAKEFILE.replace(
        'input: "given.txt"', f'input: lambda w: (_ for _ in ()).throw({error}("x: found 1"))'
    ).replace("\nif", "\nfrom multical.errors import InputError\nif")
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    command = [snakemake, "--dry-run", "--cores", "1", "--config", "left=none"]
    done = forks.run(command, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert said.count("x: found 1") == 1, said
    assert ("Traceback" in said) is traced


def test_private_names_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").write_text("localrules: a\nrule a:\nrule b:\n", encoding="utf-8")
    with snakemake.api.SnakemakeApi() as api:
        opened = api.workflow(snakemake.api.ResourceSettings(cores=1))
        rules = list(patches.workflow_of(opened).rules)
        assert [(rule.name, patches.is_localrule(rule)) for rule in rules] == [
            ("a", True), ("b", False),
        ]  # fmt: skip
    record = MetadataRecord.model_validate({"rule": "a", "record_format_version": 6})
    patches.write_records({"out": record}, again=())
    assert FilePersistence(nolock=True)._read_record("out").rule == "a"
