"""The config from its files and a command line: what goes before what, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from multical.config import files
from multical.errors import InputError
from support import checkout

LISTED = yaml.safe_load((checkout.REPO / "config.yaml").read_text("utf-8"))["include"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a small config, and the current one."""
    monkeypatch.chdir(tmp_path)
    write("config.yaml", {"include": ["one.yaml", "two.yaml"], "part": {"x": 1}, "list": [9]})
    write("one.yaml", {"part": {"x": 0, "y": 2}, "list": [1, 2], "same": 5})
    write("two.yaml", {"part": {"z": 3}, "same": 5})
    Path("config").mkdir()
    return tmp_path


def write(name: str, data: Any) -> None:
    Path(name).write_text(yaml.safe_dump(data), encoding="utf-8")


def refusal(function: Any, *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_config_yaml_goes_before_what_it_includes(folder: Path) -> None:
    assert files.read() == {"part": {"x": 1, "y": 2, "z": 3}, "list": [9], "same": 5}


def test_the_command_line_goes_before_all_files(folder: Path) -> None:
    write("more.yaml", {"part": {"x": 4, "z": 5}})
    command = [
        "snakemake",
        "-c2",
        "--configfile",
        "more.yaml",
        "--config",
        "same=7",
        "part={'z': 6}",
    ]
    found = files.read([*command, "--", "target", "list=8"])
    assert (found["part"]["x"], found["part"]["y"], found["same"], found["list"]) == (4, 2, 7, [9])
    assert found["part"]["z"] == "6"  # as Snakemake reads numbers inside of it
    assert files.read(["-C", "same=8"])["same"] == 8


def test_nothing_is_needed_beside_a_file_of_the_command_line(folder: Path) -> None:
    Path("config.yaml").rename("whole.yaml")
    assert files.read(["--configfile", "whole.yaml"])["part"]["z"] == 3
    assert "config.yaml: not readable" in refusal(files.read)
    assert "none.yaml" in refusal(files.read, ["--configfile", "none.yaml"])


@pytest.mark.parametrize(
    ("two", "key"),
    [({"part": {"y": 1}}, "part.y"), ({"part": 1}, "part"), ({"same": {"b": 1}}, "same")],
)
def test_two_included_files_that_do_not_agree(folder: Path, two: Any, key: str) -> None:
    write("two.yaml", two)
    assert (
        refusal(files.read)
        == f"two.yaml: {key}: found another value than in one.yaml, expected one"
    )


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("config.yaml", {"include": "one.yaml"}, "config.yaml: include: found 'one.yaml', "),
        ("config.yaml", {"include": [1]}, "config.yaml: include: found [1], expected"),
        ("config.yaml", {"include": ["none.yaml"]}, "none.yaml: not readable as YAML"),
        ("one.yaml", {"include": []}, "one.yaml: include: expected this key only in config.yaml"),
        ("one.yaml", [1], "one.yaml: found list, expected keys and values"),
        ("config/local.yaml", {"include": []}, "config/local.yaml: include: expected this key"),
    ],
)  # fmt: skip
def test_files_that_are_wrong(folder: Path, name: str, data: Any, sentence: str) -> None:
    write(name, data)
    assert refusal(files.read).startswith(sentence)


OWN = {"part": {"own": 1}, "resource_levels": {"high": ["de"], "low": ["gsw"]}, "more": [2]}


def test_one_s_own_file_adds_entries_and_languages(folder: Path) -> None:
    write("two.yaml", {"part": {"z": 3}, "resource_levels": {"high": ["en"], "mid": ["id"]}})
    write("config/local.yaml", OWN)
    found = files.read(["--config", "part={'own': {'a': 'b'}}"])
    assert found["part"] == {"x": 1, "y": 2, "z": 3, "own": {"a": "b"}}
    assert found["resource_levels"] == {"high": ["en", "de"], "mid": ["id"], "low": ["gsw"]}
    assert (found["list"], found["more"]) == ([9], [2])
    Path("config/local.yaml").write_text("# nothing yet\n", encoding="utf-8")
    assert files.read()["part"] == {"x": 1, "y": 2, "z": 3}


@pytest.mark.parametrize(
    ("own", "key", "file"),
    [
        ({"part": {"x": 1}}, "part.x", "one.yaml"),
        ({"part": {"z": 4}}, "part.z", "two.yaml"),
        ({"mine": {"a": 1}}, "mine.a", "config.yaml"),
        ({"list": [1]}, "list", "one.yaml"),
        ({"resource_levels": {"low": ["sv", "en"]}}, "resource_levels: 'en'", "two.yaml"),
    ],
)
def test_one_s_own_entries_have_names_of_their_own(
    folder: Path, own: Any, key: str, file: str
) -> None:
    write("config.yaml", {"include": ["one.yaml", "two.yaml"], "mine": {"a": 1}})
    write("two.yaml", {"part": {"z": 3}, "resource_levels": {"high": ["en"]}})
    write("config/local.yaml", own)
    sentence = f"config/local.yaml: {key}: is in {file} too, expected a name of one's own"
    assert refusal(files.read) == sentence


@pytest.mark.parametrize("name", ["config.yaml", "one.yaml", "config/local.yaml", "more.yaml"])
def test_a_key_twice_in_a_file(folder: Path, name: str) -> None:
    with open(name, "a", encoding="utf-8") as stream:
        stream.write("again:\n  b: 1\n  a.c: {d: 1}\n  e: 0\n  a.c: {}\n")
    lines = Path(name).read_text(encoding="utf-8").splitlines()
    first = lines.index("  a.c: {d: 1}") + 1
    command = ["--configfile", name] if name == "more.yaml" else []
    assert refusal(files.read, command) == (
        f"{name}: again.a.c: found twice, in lines {first} and {first + 2}, expected once"
    )


def test_snakemake_s_files_are_read_again_for_keys_that_it_drops(folder: Path) -> None:
    Path("more.yaml").write_text("a: 1\na: 2\n", encoding="utf-8")
    assert refusal(files.add_included, {}, Path(), [Path.cwd() / "more.yaml"]) == (
        "more.yaml: a: found twice, in lines 1 and 2, expected once"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: \xff", "config.yaml: not readable as YAML ('utf-8' codec can't decode byte 0xff"),
        (b"[" * 9999, "config.yaml: not readable as YAML (maximum recursion depth exceeded"),
        (b"__use_yte__: true", "config.yaml: __use_yte__: found code for Snakemake to run"),
    ],
)
def test_what_snakemake_should_not_read(folder: Path, content: bytes, sentence: str) -> None:
    Path("config.yaml").write_bytes(content)
    assert refusal(files.check_first, folder).startswith(sentence)


def test_no_code_in_a_file_of_the_command_line_runs(folder: Path) -> None:
    """Snakemake itself would run it, so our programs read the file first."""
    code = "__use_yte__: true\n__definitions__:\n- import os\n- os.mkdir('ran')\n"
    Path("more.yaml").write_text(code, encoding="utf-8")
    said = refusal(files.load, ["--configfile", "more.yaml"])
    assert said.startswith("more.yaml: __use_yte__: found code for Snakemake to run")
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["a{b}", "a{", "}"])
def test_folders_whose_names_snakemake_would_fill_in(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / name
    place.mkdir()
    sentence = f"{place}: found braces, expected a folder without them in its path"
    assert refusal(files.check_first, place) == sentence
    monkeypatch.chdir(place)
    assert refusal(files.check_first, folder) == sentence


@pytest.mark.parametrize("name", ["results", "logs"])
def test_links_to_nowhere(folder: Path, name: str) -> None:
    """As when the disk is not mounted, or its administrators have removed what was old."""
    Path(name).symlink_to("/scratch/gone")
    said = f"{name}: found a link to /scratch/gone, expected one to a folder"
    assert refusal(files.check_first, folder) == said
    Path(name).unlink()
    Path(name).symlink_to(folder)
    files.check_first(folder)


def test_git_ignores_one_s_own_file() -> None:
    ignored = (checkout.REPO / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"/{files.LOCAL}" in ignored


def test_an_error_names_the_file_of_the_key(tmp_path: Path, monkeypatch: Any) -> None:
    checkout.copy(tmp_path)
    monkeypatch.chdir(tmp_path)
    demo = Path("config/demo.yaml")
    text = demo.read_text("utf-8")
    demo.write_text(text.replace("batch_size: 16", "batch_size: 0"), encoding="utf-8")
    key = "studies.results/demo.training.batch_size"
    assert refusal(files.load).startswith(f"config/demo.yaml: {key}: found 0, expected")
    with open("config.yaml", "a", encoding="utf-8") as stream:
        stream.write("studies: {results/demo: {training: {batch_size: -1}}}\n")
    assert refusal(files.load).startswith(f"config.yaml: {key}: found -1, expected")
    more = "studies={'results/demo': {'training': {'batch_size': -2}}}"
    assert refusal(files.load, ["--config", more]).startswith(
        f"config: {key}: found '-2', expected"
    )
    demo.write_text(text.replace("[cldr-facts]", "[none]", 1), encoding="utf-8")
    assert refusal(files.load).startswith("config.yaml: ")  # the first that is wrong


def test_the_repository_s_files_have_no_anchors_and_all_are_included() -> None:
    found = {path.name for path in (checkout.REPO / "config").glob("*.yaml")} - {"local.yaml"}
    assert sorted(LISTED) == sorted(f"config/{name}" for name in found)
    for name in ["config.yaml", *LISTED]:
        with open(checkout.REPO / name, encoding="utf-8") as stream:
            for token in yaml.scan(stream):
                assert not isinstance(token, yaml.AnchorToken | yaml.AliasToken), (name, token)
