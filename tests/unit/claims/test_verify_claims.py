"""Verdicts are computed: studies in which the claims hold, and the same with the data flipped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import verify_claims
from multical.claims import changes
from multical.claims import report as pages
from multical.claims.params import AnyClaims, ClaimsJob
from multical.claims.schema import CONTRADICTED, INCONCLUSIVE, NOT_TESTABLE, REPRODUCED
from multical.errors import InputError
from multical.names import metric_name
from multical.params import parse
from support import claim_data

Made = tuple[list[str], dict[str, str]]
FIRST, SECOND = ["M1", "M2", "M3"], ["P1", "P2", "P3", "P4"]


def params_of(settings: dict[str, Any]) -> ClaimsJob:
    return parse(AnyClaims, json.dumps(settings)).root


def verify(made: Made, settings: dict[str, Any]) -> dict[str, Any]:
    document = verify_claims.verify(params_of(settings), *made, 1)
    claims: dict[str, Any] = document["claims"]
    return claims


def verdicts(found: dict[str, Any], names: list[str]) -> dict[str, str]:
    return {name: found[name]["verdict"] for name in names}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return claim_data.study_1(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return claim_data.study_2(tmp_path_factory.mktemp("second"))


def test_study_1_as_it_claims(first: Made) -> None:
    found = verify(first, claim_data.measured())
    assert verdicts(found, FIRST) == dict.fromkeys(FIRST, REPRODUCED)
    summary = pd.read_csv(first[1]["summary.csv"])
    rows = summary[(summary["group"] == "low") & (summary["readout"] == "text_ppl")]
    shown = rows[rows["metric"] == "confidence"].set_index("run")["value"]
    rise = found["M1"]["parts"][2]
    change = shown["tiny.facts.ls0.s0"] - shown["tiny"]
    assert rise["value"] == pytest.approx(change, abs=1e-12)
    assert rise["low"] < rise["value"] < rise["high"]
    assert rise["detail"] == "rises in 2 and falls in 0 of 2 languages, significantly in 2 and 0"
    assert [len(part["tests"]) for part in found["M3"]["parts"]] == [1, 1, 1, 1]
    assert found["M3"]["parts"][0]["tests"][0]["p_adjusted"] == pytest.approx(1 / 201)


def test_claims_of_study_2_are_not_testable_on_study_1(first: Made) -> None:
    found = verify(first, claim_data.measured())
    assert verdicts(found, SECOND) == dict.fromkeys(SECOND, NOT_TESTABLE)
    assert found["P2"]["reason"] == (
        "the claim is about the confidence of chat models, and results/made is about models before "
        "and after fine-tuning"
    )


def test_a_study_inside_of_another_shows_what_that_cannot(first: Made, second: Made) -> None:
    inner = params_of(claim_data.released_params())
    inside = verify_claims.verify(inner, *second, 1)
    settings = params_of(claim_data.measured())
    document = verify_claims.verify(settings, *first, 1, [inside])
    found = document["claims"]
    assert verdicts(found, FIRST + SECOND) == dict.fromkeys(FIRST + SECOND, REPRODUCED)
    assert found["P2"]["study"] == inside["study"]
    assert "study" not in found["M1"]
    (row,) = (line for line in pages.markdown(document).splitlines() if line.startswith("| P2 |"))
    assert f"{inside['study']}/tables/cells.csv" in row
    # what it can show itself it does
    again = verify_claims.verify(settings, *first, 1, [document])
    assert "study" not in again["claims"]["M1"]


@pytest.mark.parametrize(
    ("claim", "powers", "learnt", "verdict"),
    [
        ("M1", {0.0: 0.5, 0.1: 0.5}, 0.0, CONTRADICTED),  # less confident after SFT
        ("M1", {0.0: 1.0, 0.1: 1.0}, 0.0, INCONCLUSIVE),  # SFT changes nothing
        ("M2", claim_data.POWERS, 0.6, CONTRADICTED),  # accuracy gains that are large
        ("M3", {0.0: 1.2, 0.1: 3.0}, 0.0, CONTRADICTED),  # worse calibrated with smoothing
    ],
)
def test_flipped_data_flip_a_verdict_of_study_1(
    tmp_path: Path, claim: str, powers: dict[float, float], learnt: float, verdict: str
) -> None:
    found = verify(claim_data.study_1(tmp_path, powers, learnt), claim_data.measured())
    assert found[claim]["verdict"] == verdict


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [((1.0, 1.05, 0.95), REPRODUCED), ((1.0, 0.1, 0.3), INCONCLUSIVE)],
)
def test_a_verdict_is_about_trainings_not_about_one(
    tmp_path: Path, seeds: tuple[float, ...], verdict: str
) -> None:
    """Confidence rises with the first seed, and would with it alone be found to rise."""
    found = verify(claim_data.study_1(tmp_path, seeds=seeds), claim_data.measured())
    assert found["M1"]["verdict"] == verdict
    for part in found["M1"]["parts"]:
        (test,) = part["tests"]
        assert test["of"].endswith("3 seeds")
        assert test["low"] < test["value"] < test["high"]
        assert (test["p"] < 0.025) == (test["low"] > 0)
        assert test["p"] + test["p_against"] == pytest.approx(1)


def test_other_bins_and_metrics_are_shown_for_calibration_alone(first: Made) -> None:
    found = verify(first, claim_data.measured())
    accuracy, calibration = found["M2"]["parts"]
    assert accuracy["variants"] == []
    shown = {one["of"]: one for one in calibration["variants"]}
    names = map(metric_name, changes.BINNED)
    binned = {f"{name}, {bins} bins" for name in names for bins in (10, 15, 20, 30)}
    proper = {"Brier score", "negative log-likelihood"}
    assert set(shown) == binned - {"debiased ECE\u00b2, 10 bins"} | proper  # that is its own
    assert {one["status"] for one in shown.values()} == {"holds"}


@pytest.mark.parametrize(
    ("lacking", "claims", "reason"),
    [
        (
            {"readouts": ["text_sum"]},
            FIRST,
            "the study does not read confidence by perplexity of the texts",
        ),
        ({"metrics": ["accuracy", "ece"]}, ["M1"], "the study does not measure confidence"),
        (
            {"bootstrap": {"replicates": 0, "seed": 1, "level": 0.95}},
            FIRST,
            "the study has no bootstrap (its replicates are 0)",
        ),
    ],
)
def test_what_a_study_lacks_is_the_reason(
    first: Made, lacking: dict[str, Any], claims: list[str], reason: str
) -> None:
    found = verify(first, claim_data.measured(**lacking))
    for claim in claims:
        assert found[claim]["verdict"] == NOT_TESTABLE
        assert reason in found[claim]["reason"]


def test_a_metric_without_intervals_is_not_tested(first: Made) -> None:
    settings = claim_data.measured(metrics=["confidence", "mce"])
    settings["claims"]["M1"]["parts"][0]["metric"] = "mce"
    reason = "maximum calibration error has no interval that can be trusted"
    assert verify(first, settings)["M1"]["reason"] == reason


def test_a_study_without_low_resource_languages(tmp_path: Path) -> None:
    made = claim_data.study_1(tmp_path, languages=("en", "fr", "ko"))
    found = verify(made, claim_data.measured())
    assert verdicts(found, FIRST) == dict.fromkeys(FIRST, NOT_TESTABLE)
    assert {found[name]["reason"] for name in FIRST} == {"synthetic has no low-resource languages"}


def test_too_few_replicates_for_so_many_tests(first: Made) -> None:
    few = claim_data.measured(bootstrap=claim_data.BOOTSTRAP | {"replicates": 10})
    found = verify(first, few)
    assert verdicts(found, FIRST) == dict.fromkeys(FIRST, NOT_TESTABLE)
    assert found["M3"]["reason"] == (
        "too few models or bootstrap replicates: whatever the data, its p can be no less than "
        "0.091 here, and only a p under 0.05 counts"
    )


@pytest.mark.parametrize(
    ("smoothing", "reason"),
    [
        ([0.0], "there is no run of the condition SFT + smoothing 0.1"),
        ([0.1], "there is no SFT to compare tiny.facts.ls0.1.s0 on synthetic with"),
    ],
)
def test_runs_that_are_missing(tmp_path: Path, smoothing: list[float], reason: str) -> None:
    made = claim_data.study_1(tmp_path, {one: claim_data.POWERS[one] for one in smoothing})
    found = verify(made, claim_data.measured())["M3"]
    assert (found["verdict"], found["reason"]) == (NOT_TESTABLE, reason)


def test_a_summary_of_other_records_is_refused(first: Made, tmp_path: Path) -> None:
    summary = pd.read_csv(first[1]["summary.csv"])
    path = tmp_path / "summary.csv"
    summary.assign(value=summary["value"] + 1e-6).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"summary.csv: tiny, .*expected .* as in the records"):
        verify((first[0], {"summary.csv": str(path)}), claim_data.measured())


def test_study_2_as_it_claims(second: Made) -> None:
    found = verify(second, claim_data.released_params())
    assert verdicts(found, SECOND) == dict.fromkeys(SECOND, REPRODUCED)
    assert verdicts(found, FIRST) == dict.fromkeys(FIRST, NOT_TESTABLE)
    calibration = pd.read_csv(second[1]["calibration.csv"])
    pooled = calibration[calibration["dataset"] == "all"]["calibration_error"]
    assert found["P1"]["parts"][0]["value"] == pytest.approx(pooled.mean())
    cells = pd.read_csv(second[1]["cells.csv"])
    good = cells[cells.groupby("model")["accuracy"].transform("mean") >= 0.5]
    assert len(found["P2"]["parts"][0]["tests"]) == len(good) < len(cells)


@pytest.mark.parametrize(
    ("claims", "made"),
    [
        ({"P1": INCONCLUSIVE}, {"sure": 1.0}),  # calibrated, but 600 answers do not show it
        ({"P2": INCONCLUSIVE, "P4": CONTRADICTED}, {"telling": 0.0}),  # confidence says nothing
        ({"P3": CONTRADICTED}, {"steady": True}),  # worse models tell better
    ],
)
def test_flipped_data_flip_verdicts_of_study_2(
    tmp_path: Path, claims: dict[str, str], made: dict[str, Any]
) -> None:
    found = verify(claim_data.study_2(tmp_path, **made), claim_data.released_params())
    assert verdicts(found, list(claims)) == claims


def test_tables_of_too_few_models(second: Made, tmp_path: Path) -> None:
    tables = dict(second[1])
    for name in ("cells", "correlations", "scores"):
        table = pd.read_csv(tables[f"{name}.csv"])
        if name == "correlations":
            table["n"] = 3
        elif name == "scores":
            table = table[table["model"] == "Model 0"]
        else:
            table["accuracy"] = 0.4
        tables[f"{name}.csv"] = str(tmp_path / f"{name}.csv")
        table.to_csv(tables[f"{name}.csv"], index=False)
    found = verify((second[0], tables), claim_data.released_params())
    reasons = [found[name]["reason"] for name in SECOND[1:]]
    assert reasons == [
        "no model has an accuracy of 0.5 or more",
        "3 models, too few for a correlation with an interval",
        "1 models with scores, too few for a test over models",
    ]


def arguments(made: Made, folder: Path, settings: dict[str, Any]) -> list[str]:
    outputs = {"json": "v.json", "markdown": "v.md", "page": "v.html", "sidecar": "p.json"}
    written = [part for name, file in outputs.items() for part in (f"--{name}", str(folder / file))]
    given = ["--records", *made[0], "--tables", *made[1].values(), "--code", "test"]
    return ["verify_claims.py", *given, "--params", json.dumps(settings), *written]


def test_program_writes_the_same_but_for_seconds(
    first: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = arguments(first, tmp_path / name, claim_data.measured())
        monkeypatch.setattr(sys, "argv", command)
        verify_claims.main()
        documents.append(json.loads((tmp_path / name / "v.json").read_text()))
        for claim in documents[-1]["claims"].values():
            assert claim.pop("seconds") >= 0
    assert documents[0] == documents[1]
    assert documents[0]["command"] == "make verify STUDY=made"
    text = (tmp_path / "one" / "v.md").read_text()
    assert text.count("\n") == 2 + 7
    assert "| not testable here | none | make verify STUDY=made |" in text
    page = (tmp_path / "one" / "v.html").read_text()
    assert "http" not in page
    assert page.count("<h2>") == 3 + 2 + 4
    sidecar = json.loads((tmp_path / "one" / "p.json").read_text())
    assert len(sidecar["inputs"]) == 4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "other"}, "--params: Input tag 'other' found using 'kind' does not match any"),
        ({"models": []}, "--params: unknown keys ['models'], expected ["),
        ({"claims": {"M1": {}}}, "--params: claims.M1: missing keys"),
        ({"bins": "ten"}, "--params: bins: found 'ten', expected: Input should be a valid integer"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        params_of(claim_data.measured(**changes))
    assert str(error.value).startswith(sentence)


def test_evidence_that_is_not_given(first: Made) -> None:
    with pytest.raises(InputError, match=r"--tables: found \[\], expected summary.csv among them"):
        verify((first[0], {}), claim_data.measured())
