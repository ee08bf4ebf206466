"""Files that Snakemake makes with less: are they the same?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.exceptions import WildcardError
from snakemake.io import AnnotatedString, IOFile, flag, temp
from snakemake.iocontainers import InputFiles, Wildcards
from snakemake.jobs import Job
from snakemake.output_index import OutputIndex
from snakemake.pathvars import Pathvars

from multical.patches import snakemake_files as files
from multical.patches.snakemake_speed import Producers

RULE = SimpleNamespace(name="one", lineno=1, snakefile="x", pathvars=Pathvars.with_defaults())
NAMES = [
    "a.txt",
    "{x}/b.json",
    "{x,[ab]+}/{y}{x}.csv",
    "<results>/{x}",
    "{x}/",
    "a/",
    "{{x}}",
    "x}",
]
WILDCARDS = {"x": "ab", "y": "<logs>"}


def told(file: Any) -> tuple[Any, ...]:
    """All that there is to know of a file."""
    flags = dict(file.flags)
    return str(file), str(file._file), flags, hash(file), file.rule, file.is_callable(), type(file)


@pytest.mark.parametrize("wildcards", [WILDCARDS, Wildcards(fromdict=WILDCARDS)])
@pytest.mark.parametrize("name", NAMES)
def test_files_are_the_same(name: str, wildcards: Any) -> None:
    for text in (name, temp(name), flag(AnnotatedString(name), "report", "x")):
        theirs, ours = files._file(text, RULE), files.make(text, RULE)
        assert told(ours) == told(theirs)
        assert told(files.make(ours, RULE)) == told(files._file(theirs, RULE))
        assert told(files.make(ours, None)) == told(files._file(theirs, None))
        filled, filled_in = files._apply(theirs, wildcards), files.apply_wildcards(ours, wildcards)
        assert told(filled_in) == told(filled)
        filled_in.flags["ancient"] = True
        assert "ancient" not in ours.flags
        for each in (ours, filled_in, text, str(text)):
            for asked in ("temp", "report", "ancient", "pipe"):
                assert files.is_flagged(each, asked) is files._flagged(each, asked)


def test_an_unknown_wildcard_is_the_same_error() -> None:
    for apply in (files._apply, files.apply_wildcards):
        with pytest.raises(WildcardError, match="'z'"):
            apply(IOFile("{x}/{z}", RULE), WILDCARDS)


def test_lists_of_files_are_the_same() -> None:
    given = InputFiles(fromdict={"one": IOFile("a", RULE), "two": IOFile(temp("b"), RULE)})
    given += [IOFile("c", RULE), IOFile("d", RULE)]
    given._set_name("more", 2, end=4)
    theirs, ours = files._plain(given), files.plain_strings(given)
    assert ours == theirs == ["a", "b", "c", "d"]
    assert [*ours._allitems()] == [*theirs._allitems()]
    assert {type(each) for each in ours} == {str}
    assert type(ours) is InputFiles
    assert files.format_files(given, as_output=True) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("target", ["a/1.json", "b/1.json", "a/x.json", "json", "son", "a/y", ""])
def test_the_same_rules_make_a_file(target: str) -> None:
    patterns = ["a/{x}.json", "{x}.json", "{x}", "{x}n", "a/{y}x.json", "json", "{x,[0-9]}/y"]
    rules: Any = [Rule(pattern) for pattern in patterns]
    for method in ("match", "match_producers"):
        theirs, ours = getattr(OutputIndex(rules), method), getattr(Producers(rules), method)
        assert ours(target) == theirs(target)
        assert ours(target) == theirs(target)


class Rule:
    """A rule that makes the files of a pattern."""

    def __init__(self, pattern: str) -> None:
        self.files = [IOFile(pattern)]

    def products(self) -> list[Any]:
        return self.files

    def is_producer(self, target: str) -> bool:
        return bool(self.files[0].match(target))


def test_what_is_replaced_is_there() -> None:
    for name in ("missing_output", "is_valid", "check_protected_output", "output_mintime"):
        assert hasattr(Job, name)
