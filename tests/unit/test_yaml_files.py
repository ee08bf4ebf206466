"""YAML that people write: equal keys, merge keys, and what is not readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from multical import yaml_files
from multical.errors import InputError


def read(folder: Path, text: str, **options: bool) -> Any:
    file = folder / "x.yaml"
    file.write_text(text, encoding="utf-8")
    return yaml_files.read(file, **options)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: 2\na: 1\n", "a: found twice, in lines 1 and 3"),
        ("a: {b: 1, b: 2}", "a.b: found twice, in lines 1 and 1"),
        ("a:\n- b: 1\n- b: 1\n  c: {}\n  'b': 2\n", "a.1.b: found twice, in lines 3 and 5"),
        ("1: a\n2: b\n1: c", "1: found twice, in lines 1 and 3"),
        ('{"a": 1,\n "a": 2}', "a: found twice, in lines 1 and 2"),
    ],
)
def test_equal_keys(tmp_path: Path, text: str, found: str) -> None:
    assert refusal(tmp_path, text) == f"x.yaml: {found}, expected once"


def test_keys_that_differ(tmp_path: Path) -> None:
    text = (
        "base: &base {a: 1, b: 2}\nother: {<<: *base, a: 3}\nlast: [{a: 1}, {a: 1}]\n'1': a\n1: b"
    )
    assert read(tmp_path, text) == {
        "base": {"a": 1, "b": 2},
        "other": {"a": 3, "b": 2},
        "last": [{"a": 1}, {"a": 1}],
        "1": "a",
        1: "b",
    }


def test_scalars_as_texts(tmp_path: Path) -> None:
    assert read(tmp_path, "account: 007", as_texts=True) == {"account": "007"}
    assert read(tmp_path, "account: 007") == {"account": 7}
    assert read(tmp_path, "# nothing") is None


@pytest.mark.parametrize(
    "text",
    ["a: [1", "\tb: 1", "a: 2020-13-45", "a: &a [*a]\nb: !x 1", "- " * 5000, 'a: !!int ""',
     "a: !!bool x", 'a: !!float ""', "a: !!timestamp x", "a: !!binary 1"],
)  # fmt: skip
def test_what_is_not_readable(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith("x.yaml: not readable as YAML (")


@pytest.mark.parametrize("form", ["[{}]", "{{{}}}"], ids=["lists", "mappings"])
def test_a_few_lines_that_stand_for_billions(tmp_path: Path, form: str) -> None:
    lines = ["a0: &a0 x"]
    for number in range(1, 12):
        parts = [f"*a{number - 1}"] * 9
        parts = parts if "[" in form else [f"{key}: {part}" for key, part in enumerate(parts)]
        lines.append(f"a{number}: &a{number} {form.format(', '.join(parts))}")
    said = refusal(tmp_path, "\n".join(lines))
    assert said == "x.yaml: found over 1,000,000 values by aliases, expected fewer"


def test_other_bytes_and_no_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    with pytest.raises(InputError, match=r"x\.yaml: not readable as YAML"):
        yaml_files.read(file)
    file.write_bytes(b"a: \xff")
    with pytest.raises(InputError, match=r"x\.yaml: not readable as YAML"):
        yaml_files.read(file)


def test_code_for_snakemake(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text('__use_yte__: true\n"?1": 1', encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.yaml: __use_yte__: found code for Snakemake"):
        yaml_files.mapping(tmp_path / "x.yaml")


def test_what_is_no_mapping(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("- 1", encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.yaml: found list, expected keys and values"):
        yaml_files.mapping(tmp_path / "x.yaml")
