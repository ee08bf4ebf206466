"""What README and docs say that can be checked: the claims that reviewers read, and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from multical.claims import schema as claims_schema
from multical.config import schema
from support import checkout

ROOT = Path(__file__).parents[2]
CLAIMS = claims_schema.load(ROOT / "claims.yaml").claims
PAGES = ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """The headings of a page as links name them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_reviewers_read_each_claim_as_it_is_tested() -> None:
    expected = claims_schema.load_expected(ROOT / "expected/claims.yaml").verdicts
    studies = schema.load(checkout.config()).studies
    row = r"^\| ([MP]\d) \|.*\| `(.*)` \| `(.*)` \| (.*) \|$"
    table = re.findall(row, text("docs/reviewers.md"), re.M)
    assert [found[0] for found in table] == list(CLAIMS)
    for name, command, evidence, verdict in table:
        root = "results/" + command.removeprefix("make verify STUDY=")
        assert studies[root].kind in CLAIMS[name].tested_on
        assert {evidence} == {f"{root}/{part.evidence}" for part in CLAIMS[name].parts}
        assert verdict == expected.get(root, {}).get(name, "not entered yet")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]*)\)", text(page)):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), target
