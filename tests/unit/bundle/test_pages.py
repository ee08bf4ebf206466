"""A page shows questions, so it goes with them: into a bundle, or not."""

from __future__ import annotations

from multical.bundle import contents
from multical.dag.lineage import Lineage, Step

QUESTIONS = "results/inputs/benchmarks/quiz.parquet"
PAGE = ["results/tiny/index.html", "results/tiny/index.json"]


def test_a_page_with_questions_of_others_is_found() -> None:
    asked = Step("make_benchmark", {"benchmark": "quiz"}, {}, {QUESTIONS: "a"})
    page = Step("make_page", {"root": "results/tiny"}, {QUESTIONS: "a"}, dict.fromkeys(PAGE))
    other = Step("make_page", {"root": "results/two"}, {PAGE[0]: None}, {"x": None})
    traced = Lineage(PAGE, [asked, page, other])
    assert contents._pages(traced, traced.withheld()) == PAGE
    assert contents._pages(traced, traced.withheld(["quiz"])) == []
