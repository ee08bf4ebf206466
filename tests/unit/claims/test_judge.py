"""claims.yaml, what makes a verdict of tests, and the comparison with expected verdicts."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml

import check_verdicts
from multical.claims import judge, report, schema
from multical.claims.judge import Measurement, Test, Variant
from multical.claims.schema import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Claim, Claims
from multical.errors import InputError
from multical.files import sha256
from multical.params import validated
from support import checkout, forks
from support.claim_data import CLAIMS, ROOT

RAW = yaml.safe_load((ROOT / "claims.yaml").read_text(encoding="utf-8"))


def edited(claim: str, **changes: Any) -> Any:
    raw = copy.deepcopy(RAW)
    raw["claims"][claim] |= changes
    return raw


def part(claim: str, place: int = 0, **changes: Any) -> list[Any]:
    parts = copy.deepcopy(RAW["claims"][claim]["parts"])
    parts[place] |= changes
    return parts


def test_the_schema_of_editors_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "multical.claims.schema"], cwd=ROOT / "scripts", capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert (ROOT / "claims.schema.json").read_text(encoding="utf-8") == done.stdout


def test_all_claims_are_there_with_a_readout_each() -> None:
    assert list(CLAIMS.claims) == ["M1", "M2", "M3", "P1", "P2", "P3", "P4"]
    assert CLAIMS.evidence("multilingual") == ["summary.csv"]
    assert CLAIMS.evidence("released")[0] == "tables/calibration.csv"
    assert validated(Claims, schema.dumped(CLAIMS), "again") == CLAIMS


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (edited("M1", threshold=1), "claims.M1: unknown keys ['threshold'], expected"),
        (edited("M1", alpha=2), "claims.M1.alpha: found 2, expected"),
        (edited("M1", tested_on=["released"]), "claims.M1: parts.0: found Change, expected one"),
        (edited("P1", tested_on=["demo"]), "claims.P1.tested_on.0: found 'demo', expected"),
        (edited("M1", parts=part("M1", share=0.5)), "claims.M1: correction: found intersection_"),
        (edited("M2", parts=[]), "claims.M2.parts: List should have at least 1 item"),
        (edited("M1", parts=part("M1", test="t")), "claims.M1.parts.0.test: found 't', expected"),
        (edited("M1", parts=part("M1", after="base")), "claims.M1.parts.0: found before and"),
        (edited("P2", parts=part("P2", threshold=0.6)), "claims.P2.parts.0.threshold: found 0.6"),
        (
            edited("P4", parts=part("P4", evidence="../scores.csv")),
            "claims.P4.parts.0.evidence: found '../scores.csv'",
        ),
    ],
)
def test_wrong_claims_are_refused_with_the_key(raw: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        validated(Claims, raw, "claims.yaml")
    assert str(error.value).startswith(f"claims.yaml: {sentence}")


@pytest.mark.parametrize("text", ["a: [", "", "- M1"])
def test_files_that_are_no_claims(tmp_path: Path, text: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"claims\.yaml: "):
        schema.load(path)
    with pytest.raises(InputError, match=r"absent\.yaml: not readable"):
        schema.load(tmp_path / "absent.yaml")


def test_tails_count_what_is_not_beyond() -> None:
    replicates = np.array([0.1, 0.2, -0.1, np.nan])
    assert judge.tail(replicates, 0, "above") == 3 / 5
    assert judge.tail(replicates, 0.15, "below") == 3 / 5
    assert judge.tail(replicates, 0.1, "above") == 4 / 5


def claim(name: str, **changes: Any) -> Claim:
    return validated(Claims, edited(name, **changes), "claims").claims[name]


def measurement(*tests: tuple[float, float], variants: Any = ()) -> Measurement:
    """Tests by their p and that of the contrary."""
    made = [Test(f"test {place}", 0.1, *both) for place, both in enumerate(tests)]
    return Measurement("said", 0.0, -1.0, float("nan"), made, variants=variants)


ALONE: dict[str, Any] = {"parts": part("M1")[:1]}
HALF: dict[str, Any] = {"correction": "holm", "parts": part("M1", share=0.5)[:1]}
FOR, OPEN, CONTRARY = (0.001, 0.999), (0.4, 0.6), (0.999, 0.001)


@pytest.mark.parametrize(
    ("changes", "tests", "verdict"),
    [
        ({}, [FOR], REPRODUCED),
        ({}, [CONTRARY], CONTRADICTED),
        ({}, [OPEN], INCONCLUSIVE),
        ({}, [FOR, OPEN], INCONCLUSIVE),
        ({}, [FOR, CONTRARY], CONTRADICTED),
        ({}, [(0.03, 0.97), (0.03, 0.97)], REPRODUCED),  # both pass
        ({"correction": "holm"}, [(0.03, 0.97), (0.03, 0.97)], INCONCLUSIVE),  # 0.06
        ({"correction": "none"}, [(0.03, 0.97), (0.03, 0.97)], REPRODUCED),
        ({"alpha": 0.1}, [(0.03, 0.97), (0.03, 0.97)], REPRODUCED),
        # one of two that are contrary is enough, so they are corrected
        ({}, [(0.97, 0.03), OPEN], INCONCLUSIVE),
        ({}, [(0.98, 0.02), OPEN], CONTRADICTED),
        (HALF, [FOR, OPEN], REPRODUCED),
        (HALF, [FOR, CONTRARY], REPRODUCED),
        (HALF, [OPEN, CONTRARY], INCONCLUSIVE),  # the first may be found by more data
        (HALF, [CONTRARY, CONTRARY], CONTRADICTED),
    ],
)
def test_what_a_verdict_is_made_of(
    changes: dict[str, Any], tests: list[tuple[float, float]], verdict: str
) -> None:
    outcome = judge.judged(claim("M1", **ALONE | changes), [measurement(*tests)])
    assert outcome["verdict"] == verdict
    assert outcome["parts"][0]["high"] is None  # no NaN in JSON


@pytest.mark.parametrize(
    ("tests", "verdict"),
    [
        ([FOR, FOR, FOR], REPRODUCED),
        ([FOR, OPEN, FOR], INCONCLUSIVE),
        ([OPEN, CONTRARY, FOR], CONTRADICTED),
    ],
)
def test_a_claim_needs_all_of_its_parts(tests: list[tuple[float, float]], verdict: str) -> None:
    outcome = judge.judged(claim("M1"), [measurement(one) for one in tests])
    assert outcome["verdict"] == verdict


def test_other_choices_are_shown_and_decide_nothing() -> None:
    choices = [
        Variant("10 bins", 0.2, [Test("a", 0.2, *CONTRARY), Test("b", 0.2, *FOR)]),
        Variant("20 bins", 0.3, [Test("a", 0.3, *FOR)]),
    ]
    outcome = judge.judged(claim("M1", **ALONE), [measurement(OPEN, variants=choices)])
    assert outcome["verdict"] == INCONCLUSIVE
    shown = [(one["of"], one["p"], one["status"]) for one in outcome["parts"][0]["variants"]]
    assert shown == [("10 bins", 0.999, "contradicted"), ("20 bins", 0.001, "holds")]


def test_what_could_have_been_shown() -> None:
    """A test of a normal estimate finds the effect with the power that is said."""
    generator = np.random.default_rng(0)
    for direction, side in (("above", 1), ("below", -1)):
        value = judge.detectable(0.1, direction, se=0.2, alpha=0.05)
        estimates = value + 0.2 * generator.standard_normal(20_000)
        found = side * (estimates - 0.1) / 0.2 > 1.6449
        assert found.mean() == pytest.approx(judge.POWER, abs=0.01)
    tests = [Test("a", 0.0, *OPEN, detectable=0.2), Test("b", 0.0, *OPEN, detectable=0.4)]
    outcome = judge.judged(claim("M1", **ALONE), [Measurement("said", 0.0, 0.0, 0.0, tests)])
    assert outcome["parts"][0]["detectable"] == 0.4


def document(verdict: str = REPRODUCED) -> dict[str, Any]:
    tests = measurement(FOR if verdict == REPRODUCED else CONTRARY)
    outcome = judge.judged(claim("M1", **ALONE), [tests])
    told = {"says": "a <b> | c", "source": "x", "alpha": 0.05, "correction": "holm"}
    return {
        "study": "results/made",
        "kind": "multilingual",
        "command": "make verify STUDY=made",
        "level": 0.95,
        "power": judge.POWER,
        "claims": {"M1": told | outcome | {"seconds": 1.0}},
    }


class Parsed(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_table_and_page_escape_what_they_show() -> None:
    rows = report.markdown(document()).splitlines()
    assert len(rows) == 3
    assert r"a \<b> \| c (x)" in rows[2]
    assert "&" not in rows[2]
    assert "1 of 1 tests pass" in rows[2]
    page = Parsed()
    page.feed(report.page(document()))
    assert "b" not in page.tags
    assert not {"script", "link", "img"} & set(page.tags)
    assert "a <b> | c (x)" in page.text
    assert (
        "Tested by a bootstrap over questions (with several seeds, a t-test over questions and "
        "trainings), at the level 0.05: 100% of the tests must pass; p-values for the claim are "
        "corrected for the number of tests (Holm)."
    ) in page.text


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ([FOR, OPEN, OPEN], "undecided for test 1; test 2"),
        ([OPEN] * 9, "undecided for test 0; test 1; test 2; test 3; test 4; test 5 and 3 more"),
        ([OPEN], "undecided"),  # by its only test
        ([FOR, FOR], "holds"),
    ],
)
def test_what_leaves_a_part_undecided_is_named(tests: list[tuple[float, float]], said: str) -> None:
    (found,) = judge.judged(claim("M1", **ALONE), [measurement(*tests)])["parts"]
    assert report.result({"alpha": 0.05}, found).endswith(f": {said}")


def test_each_test_and_correction_has_a_plain_name() -> None:
    statistics = {one for kind in schema.STATISTICS.values() for one in kind}
    tests = {key for one in statistics for key in get_args(one.model_fields["test"].annotation)}
    assert set(report.TEST_NAMES) == tests
    corrections = get_args(Claim.model_fields["correction"].annotation)
    assert set(report.CORRECTIONS) == set(corrections)


def test_a_change_names_its_metric_and_readout_as_tables_do() -> None:
    (found,) = document()["claims"]["M1"]["parts"]
    said = report.judgement(document()["claims"]["M1"], found)
    assert said.endswith("In files: metric confidence, readout text_ppl.")


def check(folder: Path, patch: pytest.MonkeyPatch, expected: Any, **changes: str) -> None:
    (folder / "v.json").write_text(json.dumps(document(**changes)))
    made = {str(folder / "v.json"): sha256(folder / "v.json")}
    (folder / "provenance.json").write_text(json.dumps({"outputs": made}))
    (folder / "e.yaml").write_text(yaml.safe_dump({"verdicts": expected}))
    files = ["--verdicts", str(folder / "v.json"), "--expected", str(folder / "e.yaml")]
    patch.setattr(sys, "argv", ["check_verdicts.py", *files])
    check_verdicts.main()


def test_expected_verdicts_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check(tmp_path, monkeypatch, {"results/made": {"M1": REPRODUCED}})
    assert "| M1 |" in capsys.readouterr().out
    check(tmp_path, monkeypatch, {"results/made": {"M1": [CONTRADICTED, REPRODUCED]}})
    message = "M1 is 'reproduced', expected 'contradicted' or 'inconclusive'"
    with pytest.raises(InputError, match=message):
        check(tmp_path, monkeypatch, {"results/made": {"M1": [CONTRADICTED, INCONCLUSIVE]}})
    check(tmp_path, monkeypatch, {"results/other": {}})
    assert "nothing was compared: " in capsys.readouterr().err


def test_a_verdict_that_was_written_by_hand_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(tmp_path, monkeypatch, {})
    by_hand = json.dumps(document(verdict=CONTRADICTED))
    (tmp_path / "v.json").write_text(by_hand)
    with pytest.raises(InputError, match=r"v\.json: changed since it was made: "):
        check_verdicts.main()
    (tmp_path / "provenance.json").unlink()
    with pytest.raises(InputError, match=r"provenance\.json: not readable as a sidecar"):
        check_verdicts.main()


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        ({"M1": REPRODUCED}, "M1 is 'contradicted', expected 'reproduced'"),
        ({}, r"found verdicts on \[\], expected \['M1'\]"),
        ({"M1": CONTRADICTED, "P1": REPRODUCED}, r"found verdicts on \['M1', 'P1'\]"),
        ({"M1": "true"}, "verdicts.results/made.M1: found 'true', expected"),
    ],
)
def test_unexpected_verdicts_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        check(tmp_path, monkeypatch, {"results/made": expected}, verdict=CONTRADICTED)


def test_the_expected_file_names_studies_of_the_config_and_all_claims() -> None:
    expected = schema.load_expected(ROOT / "expected" / "claims.yaml").verdicts
    config = checkout.config()
    assert set(expected) <= set(config["studies"])
    assert all(list(own) == list(CLAIMS.claims) for own in expected.values())


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("root", "evidence"),
    [("results/demo", "summary.csv"), ("results/msp_v2", "tables/scores.csv")],
)
def test_the_rule_takes_the_evidence_of_the_study(root: str, evidence: str, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("snakemake")), "-n", "-p", "--cores", "1"]
    command += ["--nolock", "--forcerun", "verify_claims", "--", f"{root}/claims/verdicts.json"]
    done = forks.run(command, cwd=ROOT, check=True)
    rule = done.stdout.partition("rule verify_claims:")[2]
    assert f"{root}/{evidence}" in rule
    assert f"--page {root}/claims/verdicts.html" in rule
