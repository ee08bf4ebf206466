"""How multical is cited: CITATION.cff, and .zenodo.json, which Zenodo prefers to it."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from support.checkout import REPO

CITED: dict[str, Any] = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
DEPOSIT: dict[str, Any] = json.loads((REPO / ".zenodo.json").read_text(encoding="utf-8"))


def test_papers_have_the_titles_that_the_readme_gives() -> None:
    readme = " ".join((REPO / "README.md").read_text(encoding="utf-8").split())
    said = re.findall(r"\*\*Paper \d\*\*: \*(.*?)\* \(\[arXiv (\S+)\]\(([^)]*)\)", readme)
    papers = [(paper["title"], paper["url"]) for paper in CITED["references"]]
    assert papers == [(title, url) for title, _, url in said]
    numbers = [number for _, number, _ in said]
    assert [paper["doi"] for paper in CITED["references"]] == [
        f"10.48550/arXiv.{number}" for number in numbers
    ]
    related = [work["identifier"] for work in DEPOSIT["related_identifiers"]]
    assert related == [f"arXiv:{number}" for number in numbers]


def test_both_say_the_same_of_multical() -> None:
    assert DEPOSIT["title"] == CITED["title"]
    assert DEPOSIT["version"] == CITED["version"]
    assert DEPOSIT["license"] == CITED["license"]
    assert DEPOSIT["publication_date"] == str(CITED["date-released"])
    assert DEPOSIT["upload_type"] == CITED["type"]
    assert [one["name"] for one in DEPOSIT["creators"]] == [one["name"] for one in CITED["authors"]]
