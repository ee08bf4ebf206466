"""No output's path is spelled outside multical.paths, and rules are named as their programs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import checkout, forks

ROOT = Path(__file__).parents[2]
PROGRAMS = [file for room in ("scripts", "tools") for file in sorted((ROOT / room).rglob("*.py"))]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
#: Rules that only ask for files
WITHOUT_PROGRAM = {"all", "msp_v2", "msp_v2_verify"}
#: A word with one of these is the path of an output; sentences may name them
SPELLED = re.compile(
    r"(results/inputs/|/(records|runs|learning_rates|figures|tables|claims|stats)/|^logs/.|^cache/.)"
    r"[^\s]*$"
)


def literals(source: str) -> Iterator[str]:
    """The texts in a program, but for docstrings; what f-strings fill in stands as `{}`."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
             for part in node.values}  # fmt: skip
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in parts | docs:
            yield str(node.value)


def spelled(texts: Iterator[str]) -> list[str]:
    return [text for text in texts if not re.search(r"\s", text) and SPELLED.search(text)]


@pytest.mark.parametrize("source", ['x = f"{root}/runs/{run}/manifest.json"', 'x = "logs/a.tsv"'])
def test_a_spelled_path_is_found(source: str) -> None:
    assert spelled(literals(source))


def test_a_docstring_or_a_sentence_may_name_a_path() -> None:
    assert not spelled(literals('"""logs/a.tsv"""\nx = "Look at logs/a.tsv, and go on."'))


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_programs_spell_no_path_of_an_output(file: Path) -> None:
    if file.relative_to(ROOT).as_posix() != "scripts/multical/paths.py":
        assert spelled(literals(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_rules_spell_no_path_of_an_output(file: Path) -> None:
    text = re.sub(r"(?m)^\s*#.*|paths\.(log|timing)\([^)]*\)", "", file.read_text(encoding="utf-8"))
    assert spelled(iter(re.findall(r'"([^"\n]*)"', text))) == []
    assert "{root}/" not in text


def test_rules_are_named_as_their_programs() -> None:
    listed = forks.run([*checkout.SNAKEMAKE, "--list-rules"], cwd=ROOT, check=True)
    rules = {rule.removesuffix("_margin_entropy") for rule in listed.stdout.split()}
    assert rules - WITHOUT_PROGRAM == {file.stem for file in (ROOT / "scripts").glob("*.py")}
    for file in RULES:
        for rule in re.split(r"(?m)^(?=rule )", file.read_text(encoding="utf-8"))[1:]:
            for program in re.findall(r'python scripts/(\w+)|command\("(\w+)"', rule):
                assert "".join(program) == re.split(r"[ :]", rule)[1]
