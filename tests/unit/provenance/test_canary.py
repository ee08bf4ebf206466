"""`make canary`: what it reads of tests, whom it suspects, and what it finds broken by whom."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import pytest

import canary
from multical.errors import InputError

NEWER = {"numpy": ("2.4.6", "2.5.0"), "trl": ("1.16.0", "1.18.0"), "scikit-learn": ("1.8", "1.9")}
TRL = "tests/unit/patches/test_trl.py::test_head[a]"
MEAN = "tests/unit/metrics/test_mean.py::test_mean"
BOTH = "tests/unit/metrics/test_mean.py::test_both"
SUITES = """<testsuites><testsuite name="pytest">
<testcase file="tests/unit/patches/test_trl.py" name="test_head[a]"><failure message="no _Head">
site-packages/trl/trainer/utils.py:10: AttributeError</failure></testcase>
<testcase file="tests/unit/patches/test_trl.py" name="test_good"/>
<testcase name="tests.unit.models.test_sft"><error message="collection failure">x</error></testcase>
</testsuite></testsuites>"""


def test_failures_are_named_as_pytest_takes_them() -> None:
    found = dict(canary.failed(ElementTree.fromstring(SUITES)))
    assert list(found) == [TRL, "tests/unit/models/test_sft.py"]
    assert found[TRL].startswith("no _Head\n")


def test_what_differs_from_the_lock() -> None:
    locked = {"numpy": "2.4.6", "trl": "1.16.0", "gone": "1"}
    assert canary.changed(locked, {"numpy": "2.5.0", "trl": "1.16.0", "new": "3"}) == {
        "numpy": ("2.4.6", "2.5.0")
    }


def test_the_most_named_are_suspected_first_then_all_direct_ones() -> None:
    broken = {MEAN: "site-packages/sklearn/x.py", TRL: "site-packages/trl/a.py", "z": "trl, numpy"}
    assert canary.suspects(broken, NEWER) == ["trl", "scikit-learn", "numpy"]
    assert canary.suspects({"z": ""}, ["filelock", "trl"]) == ["trl"]  # filelock is not asked for


def test_the_library_whose_locked_version_helps_has_broken_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One test needs the old trl, another numpy, a third a version that nobody had."""
    needs = {TRL: "trl", MEAN: "numpy", BOTH: "nobody"}
    installed: list[str] = []

    def run(python: Path, asked: Iterable[str]) -> dict[str, str]:
        return {name: "" for name in asked if needs[name] not in installed}

    def install(requirements: Iterable[str]) -> None:
        (pin,) = requirements
        name, version = pin.split("==")
        assert version == NEWER[name][0]
        installed.append(name)

    monkeypatch.setattr(canary, "run", run)
    monkeypatch.setattr(canary, "install", install)
    found = dict(canary.blame(dict.fromkeys(needs, "numpy"), NEWER))
    assert found == {TRL: "trl", MEAN: "numpy"}
    assert installed == ["numpy", "trl", "scikit-learn"]


def test_the_report() -> None:
    errors = {
        TRL: "no _Head\n\nmore\nlast",
        MEAN: "0.1 != 0.2",
        BOTH: "old",
        canary.SMOKE: "a\nb\nc",
    }
    lines = list(canary.report(errors, [BOTH], {TRL: "trl", MEAN: "numpy"}, NEWER))
    assert "\n".join(lines).strip().split("\n\n")[:4] == [
        f"trl 1.16.0 -> 1.18.0 breaks\n  {TRL}\n      no _Head\n      more",
        f"numpy 2.4.6 -> 2.5.0 breaks\n  {MEAN}\n      0.1 != 0.2",
        f"fails with the lock, too\n  {BOTH}\n      old",
        f"broken by no one library\n  {canary.SMOKE}\n      b\n      c",
    ]
    assert lines[-1].startswith(
        "\nlook at patches/trl.py, which is for trl until: a head that takes"
    )


def test_tests_that_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it makes an environment."""
    monkeypatch.setattr(canary.sys, "argv", ["canary.py", canary.SMOKE, "tests/unit/none.py::a"])
    with pytest.raises(InputError, match=r"tests/unit/none\.py::a: no such tests, expected a path"):
        canary.main()


def test_nothing_broken() -> None:
    assert list(canary.report({}, [], {}, {})) == ["\nall works with the newest releases"]
