"""Differences between two configs: where they are, what is said of them, and putting one back."""

from __future__ import annotations

from typing import Any

import pytest

from multical.dag.diff import describe, differences, value_at, with_value

OLD: dict[str, Any] = {
    "models": {"little": {"path": "a"}},
    "languages": ["en", "fr"],
    "rates": [1, 2],
    "runs": [{"model": "x", "seed": 0}, {"model": "y", "seed": 0}],
    "steps": 2,
    "scale": None,
}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({}, []),
        ({"steps": 3}, ["steps 2 -> 3"]),
        ({"steps": 2.0}, ["steps 2 -> 2.0"]),
        ({"scale": {"processes": 4}}, ['scale null -> {"processes": 4}']),
        ({"languages": ["en", "am"]}, ["languages +am -fr"]),
        ({"languages": ["fr", "en"]}, ['languages ["en", "fr"] -> ["fr", "en"]']),
        ({"languages": None}, ['languages ["en", "fr"] -> null']),
        ({"rates": [1]}, ["rates -2"]),
        ({"models": {"little": {"path": "b"}}}, ["models.little.path a -> b"]),
        ({"models": {}}, ["models.little removed"]),
        ({"models": OLD["models"] | {"big": 1}}, ["models.big added: 1"]),
        ({"runs": [OLD["runs"][0], {"model": "y", "seed": 1}]}, ["runs.1.seed 0 -> 1"]),
        ({"runs": OLD["runs"][:1]}, ['runs -{"model": "y", "seed": 0}']),
        ({"steps": "x" * 99}, [f"steps 2 -> {'x' * 60}..."]),
    ],
)  # fmt: skip
def test_each_difference_is_told_with_both_values(new: dict[str, Any], said: list[str]) -> None:
    assert [describe(*difference) for difference in differences(OLD, OLD | new)] == said


def test_long_texts_are_cut_where_they_differ() -> None:
    old, new = (f"{'x' * 99}{end}{'y' * 99}" for end in ("Question:", "Frage:"))
    said = describe(("prompt",), old, new)
    assert "Question:" in said
    assert "Frage:" in said
    assert len(said) < 150


@pytest.mark.parametrize("path", [("models", "little", "path"), ("runs", 1, "seed"), ("scale",)])
def test_one_place_is_put_back_and_no_other(path: tuple[str | int, ...]) -> None:
    edited = with_value(OLD, path, "new")
    assert value_at(edited, path) == "new"
    assert [difference[0] for difference in differences(OLD, edited)] == [path]
    assert with_value(edited, path, value_at(OLD, path)) == OLD


def test_what_was_not_there_goes_again() -> None:
    path = ("models", "big")
    edited = with_value(OLD, path, {"path": "c"})
    assert with_value(edited, path, value_at(OLD, path)) == OLD
