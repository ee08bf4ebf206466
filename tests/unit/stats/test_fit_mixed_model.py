"""fit_mixed_model.py: effects by resource level, against least squares and known truth."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

import compute_effects
import fit_mixed_model
from multical.errors import InputError
from multical.figures import tables as results
from multical.figures.params import Conditions
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import READOUTS
from multical.params import parse
from multical.stats import mixed
from multical.stats.mixed import Cell, NotFittedError
from multical.stats.params import MetricsJob, MixedModels, Tested
from support import figure_data, forks
from support.synthetic import make_records, written

SCRIPT = Path(__file__).parents[3] / "scripts/fit_mixed_model.py"
LEVELS = {"en": "high", "fr": "high", "de": "high", "ko": "mid", "id": "mid", "sw": "low",
          "yo": "low"}  # fmt: skip
PARAMS: dict[str, Any] = {
    "readouts": ["text_ppl", "letter_full"],
    "metrics": ["accuracy", "confidence", "ece", "entropy"],
    "bins": 15,
    "seed": 0,
    "level": 0.9,
    "resource_levels": LEVELS,
}
JOB = MixedModels.model_validate(PARAMS)
RUNS = ["tiny", "tiny.facts.ls0.s0", "tiny.facts.ls0.s1", "tiny.facts.ls0.1.s0"]


def drawn(
    generator: np.random.Generator, levels: list[str], effects: dict[str, float],
    spread: float = 0.03, blocks: int = 10, noise: float = 0.02,
) -> tuple[list[Cell], list[Cell]]:  # fmt: skip
    """Cells before and after of languages whose effects differ by `spread`."""
    sides: tuple[list[Cell], list[Cell]] = ([], [])
    for level in levels:
        hard = generator.normal(0, 0.05, blocks)  # of a block of questions, before and after
        own = generator.normal(0.3, 0.05)
        change = effects[level] + generator.normal(0, spread)
        for side, mean in zip(sides, (own, own + change), strict=True):
            values = mean + hard + generator.normal(0, noise, blocks)
            side.append(Cell(float(values.mean()), values))
    return sides


FORTY = ["high"] * 20 + ["mid"] * 9 + ["low"] * 12
TRUE = {"high": 0.05, "mid": 0.1, "low": -0.02}


def test_estimates_are_those_of_least_squares_over_languages() -> None:
    """With as many questions in each language, REML inside of its bounds is least squares."""
    before, after = drawn(np.random.default_rng(0), FORTY, TRUE)
    found = mixed.fit(mixed.paired(before, after), FORTY)
    assert found.about["converged"]
    assert found.about["problem"] == ""
    change = [b.value - a.value for a, b in zip(before, after, strict=True)]
    dummies = np.array([[level == one for one in TRUE] for level in FORTY], float)
    reference = sm.OLS(np.array(change), dummies).fit()
    terms = pd.DataFrame(found.terms).set_index("level")
    assert list(terms.index) == ["high", "mid", "low", "mid-high", "low-high"]
    assert terms["languages"].tolist() == [20, 9, 12, 29, 32]
    assert (terms["df"] == reference.df_resid).all()
    np.testing.assert_allclose(terms["value"].iloc[:3], reference.params, rtol=1e-9)
    np.testing.assert_allclose(terms["se"].iloc[:3], reference.bse, rtol=1e-4)
    np.testing.assert_allclose(terms["p"].iloc[:3], reference.pvalues, rtol=1e-2)
    apart = reference.t_test([-1, 0, 1])
    assert terms.loc["low-high", "value"] == pytest.approx(apart.effect[0])
    assert terms.loc["low-high", "p"] == pytest.approx(float(apart.pvalue), rel=1e-2)


def test_effect_size_and_spread_of_languages() -> None:
    before, after = drawn(np.random.default_rng(1), FORTY * 10, TRUE, noise=0.001)
    found = mixed.fit(mixed.paired(before, after), FORTY * 10)
    assert found.about["sd_effect"] == pytest.approx(0.03, rel=0.1)
    assert found.about["sd_intercept"] == pytest.approx(0.05, rel=0.1)
    assert found.about["correlation"] == pytest.approx(0, abs=0.15)
    usual = np.sqrt(0.05**2 + 0.03**2 / 2)
    assert found.terms[1]["d_av"] == pytest.approx(found.terms[1]["value"] / usual, rel=0.1)


def test_pairing_is_a_random_intercept_for_each_block() -> None:
    """The same by statsmodels' own variance component of blocks within languages."""
    levels = ["high"] * 5 + ["low"] * 5
    before, after = drawn(np.random.default_rng(4), levels, TRUE, blocks=4)
    found = mixed.fit(mixed.paired(before, after), levels)
    values = np.array([[one.blocks for one in side] for side in (before, after)])  # (2, L, k)
    values = np.moveaxis(values, 0, 2).ravel() / 0.1
    language, later = np.repeat(np.arange(10), 8), np.tile([0.0, 1.0], 40)
    high = (language < 5).astype(float)
    fixed = np.column_stack([high, 1 - high, high * later, (1 - high) * later])
    one_language = np.kron(np.eye(4), np.ones((2, 1)))
    names = [[f"{place}"] * 4 for place in range(10)]
    component = VCSpec(["block"], [names], [[one_language] * 10])
    random = np.column_stack([np.ones(80), later])
    whole = MixedLM(values, fixed, language, random, exog_vc=component).fit(method="lbfgs")
    assert found.about["sd_effect"] == pytest.approx(0.1 * np.sqrt(whole.cov_re[1, 1]), rel=0.02)
    assert found.about["sd_residual"] == pytest.approx(0.1 * np.sqrt(whole.scale), rel=0.02)
    se = [term["se"] for term in found.terms[:2]]
    np.testing.assert_allclose(se, 0.1 * np.asarray(whole.bse_fe)[2:], rtol=0.02)


@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_the_tests_keep_their_level(spread: float) -> None:
    """No effect at any level; with and without differences between languages."""
    generator, p = np.random.default_rng(5), []
    levels = FORTY[::2]
    for _ in range(120):
        cells = drawn(generator, levels, dict.fromkeys(TRUE, 0.0), spread, blocks=5)
        p += [term["p"] for term in mixed.fit(mixed.paired(*cells), levels).terms]
    rejected = np.mean(np.array(p) < 0.05)
    assert np.isfinite(p).mean() > 0.98
    assert rejected <= 0.07
    assert rejected > 0.01 * (spread > 0)


@pytest.mark.parametrize("metric", get_args(Tested))
def test_a_metric_is_the_mean_of_its_questions(metric: str) -> None:
    frame = make_records(["tiny"], ["en"], 130, 3)
    readout = READOUTS["text_ppl"](frame)
    values = mixed.per_question(readout, metric, 15)
    expected = METRICS[metric](readout, None, 15)[0]
    assert values.mean() == pytest.approx(expected, abs=1e-12)
    order = np.random.default_rng(0).permutation(130)
    one = mixed.cell(values, order)
    assert one.value == values.mean()
    assert len(one.blocks) == mixed.BLOCKS
    assert one.blocks.mean() == pytest.approx(expected)  # 130 is 10 times 13
    assert one.blocks[0] == pytest.approx(values[order < 13].mean())


def test_ece_is_linear_where_no_bin_changes_its_sign() -> None:
    """Its variance by questions is that of the replicates."""
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.4, 1, 2000)
    right = generator.random(2000) < confidence - 0.2
    readout = mixed.Readout(confidence, right, None, None, True)
    values = mixed.per_question(readout, "ece", 15)
    counts = generator.multinomial(2000, np.full(2000, 1 / 2000), 400)
    replicates = METRICS["ece"](readout, counts, 15)
    assert values.std() / np.sqrt(2000) == pytest.approx(replicates.std(), rel=0.1)


def test_languages_with_few_questions() -> None:
    generator = np.random.default_rng(0)
    sides = drawn(generator, ["high"] * 6, TRUE)
    few = Cell(0.5, np.array([0.4, 0.5, 0.6]))
    values = mixed.paired([*sides[0], few], [*sides[1], few])
    assert values.shape == (7, 3, 2)
    whole = [[one.value for one in (*side, few)] for side in sides]
    np.testing.assert_allclose(values.mean(axis=1), np.transpose(whole))
    with pytest.raises(NotFittedError, match="a language has one question"):
        mixed.paired([Cell(0.5, np.array([0.5]))], [few])


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        (["high"], "1 languages of 1 resource levels, expected more languages"),
        (["high", "mid", "low"], "3 languages of 3 resource levels"),
    ],
)
def test_too_few_languages(levels: list[str], sentence: str) -> None:
    sides = drawn(np.random.default_rng(0), levels, TRUE)
    with pytest.raises(NotFittedError, match=sentence):
        mixed.fit(mixed.paired(*sides), levels)


def test_one_level_has_no_difference() -> None:
    sides = drawn(np.random.default_rng(0), ["mid"] * 8, TRUE)
    found = mixed.fit(mixed.paired(*sides), ["mid"] * 8)
    assert [term["level"] for term in found.terms] == ["mid"]
    change = [b.value - a.value for a, b in zip(*sides, strict=True)]
    assert found.terms[0]["p"] == pytest.approx(stats.ttest_1samp(change, 0).pvalue, rel=1e-2)
    assert np.isnan(found.about["p_equal_spread"])


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_nothing_random(shift: float) -> None:
    """All right, or every question changed alike."""
    before = [Cell(0.5, np.full(10, 0.5))] * 8
    after = [Cell(0.5 + shift, np.full(10, 0.5 + shift))] * 8
    with pytest.raises(NotFittedError, match="nothing is random"):
        mixed.fit(mixed.paired(before, after), ["low"] * 8)


def test_ties_between_languages_lie_on_the_boundary() -> None:
    """Languages that all change alike: fitted, and what statsmodels says is kept."""
    side = drawn(np.random.default_rng(0), ["low"], TRUE, blocks=10)
    found = mixed.fit(mixed.paired(side[0] * 9, side[1] * 9), ["low"] * 9)
    assert found.about["sd_effect"] < 0.01
    assert "boundary" in found.about["problem"]
    assert np.isnan(found.about["p_normal_languages"])


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimisers that start far off and stop at once."""
    fit = MixedLM.fit
    monkeypatch.setattr(MixedLM, "fit", lambda self, **given: fit(self, **given, maxiter=1))
    monkeypatch.setattr(mixed, "_start", lambda *given: 1e4 * np.eye(2))


@pytest.mark.usefixtures("stuck")
def test_a_fit_that_does_not_converge_has_no_p() -> None:
    sides = drawn(np.random.default_rng(0), FORTY, TRUE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # they are caught and kept
        found = mixed.fit(mixed.paired(*sides), FORTY)
    assert not found.about["converged"]
    assert found.about["problem"].startswith("did not converge; ")
    assert "Retrying MixedLM optimization with powell" in found.about["problem"]
    for term in found.terms:
        assert np.isfinite(term["value"])
        assert np.isnan([term["se"], term["p"]]).all()


def test_an_error_of_the_library_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, **given: Any) -> None:
        raise np.linalg.LinAlgError("Singular\nmatrix")

    monkeypatch.setattr(MixedLM, "fit", fail)
    sides = drawn(np.random.default_rng(0), FORTY, TRUE)
    with pytest.raises(NotFittedError, match=r"^statsmodels: Singular matrix$"):
        mixed.fit(mixed.paired(*sides), FORTY)


def test_diagnostics_find_an_outlier() -> None:
    sides = drawn(np.random.default_rng(0), FORTY, TRUE)
    usual = mixed.fit(mixed.paired(*sides), FORTY).about
    assert min(usual["p_normal_languages"], usual["p_normal_blocks"]) > 0.01
    odd = sides[1][25]
    sides[1][25] = Cell(odd.value + 0.5, odd.blocks + 0.5)
    found = mixed.fit(mixed.paired(*sides), FORTY).about
    assert found["outlier"] == 25
    assert found["outlier_sd"] > 4
    assert found["p_normal_languages"] < 0.001


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_records(RUNS, list(LEVELS), 120, 0)


@pytest.fixture(scope="module")
def paths(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return written(tmp_path_factory.mktemp("records"), frame)


@pytest.fixture(scope="module")
def tables(paths: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return fit_mixed_model.compute(paths, JOB)


def test_estimates_are_the_mean_effects_of_languages(
    paths: list[str], tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    """Over both seeds, as compute_effects.py has them."""
    own = {key: PARAMS[key] for key in ("readouts", "metrics", "bins", "resource_levels")}
    drawn = {"replicates": 5, "seed": 0, "level": 0.9}
    job = MetricsJob.model_validate(own | {"bootstrap": drawn})
    _, over = compute_effects.compute(paths, job)
    effects, models = tables
    assert models["converged"].all()
    assert len(models) == 2 * 7
    keys = ["after", "readout", "metric"]
    known = over.rename(columns={"group": "level"}).set_index([*keys, "level"])["value"]
    found = effects[~effects["level"].str.contains("-")].set_index([*keys, "level"])["value"]
    assert len(found) == 14 * 3
    np.testing.assert_allclose(found, known.reindex(found.index), atol=1e-9)
    assert set(models.loc[models["after"] == "SFT", "seeds"]) == {2}
    inside = (effects["ci_low"] < effects["value"]) & (effects["value"] < effects["ci_high"])
    assert inside.all()
    assert models["outlier"].isin(LEVELS).all()


def test_models_that_cannot_be_fitted_say_so(frame: pd.DataFrame, tmp_path: Path) -> None:
    few = frame[frame["language"].isin(["en", "ko"])]
    effects, models = fit_mixed_model.compute(written(tmp_path, few), JOB)
    assert (models["problem"].str.contains("2 languages of 2 resource levels")).all()
    assert not models["converged"].any()
    assert effects["level"].unique().tolist() == ["high", "mid", "mid-high"]
    assert (effects["languages"] == effects["level"].map({"mid-high": 2}).fillna(1)).all()
    assert effects[["value", "ci_low", "p", "p_holm"]].isna().all(axis=None)


def test_one_model_that_cannot_be_fitted_is_shown_beside_others(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    """Nothing that smoothing changes in a second model: tables and figures still read the rows."""
    tuned = frame[frame["seed"] == 0]
    same = tuned[tuned["smoothing"] == 0].assign(smoothing=0.1)
    same["run"] = same["run"].str.replace("ls0.s0", "ls0.1.s0")
    other = pd.concat([frame[frame["sft"].isna()], tuned[tuned["smoothing"] == 0], same])
    other = other.assign(model="other", run=other["run"].str.replace("tiny", "other"))
    both = pd.concat([frame[frame["sft"].isna()], tuned, other])
    effects, models = fit_mixed_model.compute(written(tmp_path, both), JOB)
    assert models.groupby("model")["converged"].mean().to_dict() == {"other": 0.5, "tiny": 1}
    effects.to_csv(tmp_path / "effects.csv", index=False)
    own = {key: figure_data.PARAMS[key] for key in Conditions.model_fields}
    shown = Conditions.model_validate(own | {"benchmark": "synthetic"})
    read = results.compared(tmp_path / "effects.csv", "mixed_effects", shown)
    lost = read[(read["model"] == "other") & (read["before"] == "SFT")]
    assert len(lost) == 4 * 5
    assert lost["p"].isna().all()


def test_the_program(
    paths: list[str], tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    command = [sys.executable, str(SCRIPT), "--params", json.dumps(PARAMS)]
    files = [tmp_path / name for name in ("e.csv", "m.csv")]
    command += ["--effects", str(files[0]), "--models", str(files[1]), "--records", *paths[::-1]]
    forks.run(command, check=True)
    for file, table in zip(files, tables, strict=True):
        assert file.read_text() == table.to_csv(index=False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"metrics": ["auroc"]}, "metrics.0: found 'auroc', expected: Input should be 'accuracy'"),
        ({"seed": -1}, "seed: found -1, expected: Input should be greater than or equal to 0"),
        ({"level": 1.0}, "level: found 1.0, expected: Input should be less than 1"),
        ({"bootstrap": {}}, r"unknown keys \['bootstrap'\]"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse(MixedModels, json.dumps(PARAMS | changes))
