"""What changes between two studies of paper 2, against other computations and by simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss

import compute_msp_changes as changes
from multical import records
from multical.config import schema
from multical.data import released
from multical.data.release_params import Released
from multical.errors import InputError
from multical.figures.params import ChangesTable
from multical.stats import effects
from multical.workflow import msp_params
from support import checkout
from support import released_data as data
from support.msp_study import Study
from support.synthetic import own_answers

ROOT = "results/msp_v2/one_shot"
ARCHIVES = {"results/msp_v2": data.ARCHIVE, ROOT: data.ONE_SHOT_ARCHIVE}
needs_archives = pytest.mark.skipif(
    not all(Path(path).exists() for path in ARCHIVES.values()),
    reason=f"the released outputs of paper 2 are not at {' and '.join(ARCHIVES.values())} "
    "(set MSP_V2_ARCHIVE and MSP_V2_ONE_SHOT_ARCHIVE)",
)
QUESTIONS = 300
SIMULATIONS = 200
MODELS = [{"file": f"m{i}", "name": f"M{i}", "size": None} for i in range(4)]
DATASETS = [{"id": name, "name": name.upper(), "benchmark": name} for name in ("arc", "quiz")]


def answers(generator: np.random.Generator, shift: float, ease: Any) -> Any:
    """Right or not, and a calibrated MSP, of questions of some ease."""
    logit = ease + shift + generator.normal(0, 0.7, len(ease))
    msp = 1 / (1 + np.exp(-logit))
    right = generator.random(len(ease)) < msp
    return right, msp


def frame(seed: int, shift: float, tag: str, models: Any = MODELS) -> pd.DataFrame:
    """Released answers of two phrasings to questions that are as easy in all models and studies."""
    generator, parts = np.random.default_rng(seed), []
    for dataset in DATASETS:
        ease = np.random.default_rng(5).normal(0.5, 1.5, QUESTIONS)
        for model in models:
            for prompt in ("first", "second"):
                right, msp = answers(generator, shift, ease)
                parts.append(pd.DataFrame({
                    "question_id": [f"{i:05d}" for i in range(QUESTIONS)], "correct": right,
                    "msp": msp, "run": model["file"], "model": model["file"], "language": "en",
                    "benchmark": dataset["id"], "prompt": prompt + tag,
                }))  # fmt: skip
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(**{name: None for name in records.SCHEMA.names if name not in rows})


def params(**more: Any) -> dict[str, Any]:
    study = {"study": "results/x/one", "models": MODELS, "datasets": DATASETS}
    return study | {
        "before": study | {"study": "results/x"},
        "prompts": {"first_one": "first", "second_one": "second"},
        "bins": 10,
        "bootstrap": {"replicates": 2000, "level": 0.95, "seed": 0},
    } | more  # fmt: skip


def run(folder: Path, old: pd.DataFrame, new: pd.DataFrame, **more: Any) -> Study:
    """The program, run on the records of two studies."""
    for name, rows in (("before", old), ("after", new)):
        records.write(folder / f"{name}.parquet", rows)
    found = Study(folder, "", [], {})
    stems = ("changes", "mean_changes")
    made = [
        part
        for option, end in (("csv", "csv"), ("tex", "tex"), ("sidecar", "json"))
        for part in (f"--{option}", *(f"{stem}.{end}" for stem in stems))
    ]
    files = ["--records", "after.parquet", "--before-records", "before.parquet"]
    found.call("compute_msp_changes", params(**more), *files, *made)
    return found


@pytest.fixture(scope="module")
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    return frame(0, 0.0, ""), frame(1, -0.3, "_one")


@pytest.fixture(scope="module")
def made(
    frames: tuple[pd.DataFrame, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Study:
    return run(tmp_path_factory.mktemp("changes"), *frames)


def by_question(rows: pd.DataFrame, model: str, dataset: str, value: Any) -> pd.Series:
    """Mean of a value over phrasings, by question."""
    chosen = rows[(rows["run"] == model) & (rows["benchmark"] == dataset)]
    return chosen.assign(value=value(chosen)).groupby("question_id")["value"].mean()


@pytest.mark.parametrize("measure", ["accuracy", "brier"])
def test_a_mean_over_questions_has_the_paired_t_test(
    made: Study, frames: tuple[pd.DataFrame, pd.DataFrame], measure: str
) -> None:
    table = made.table("changes").query(f"measure == '{measure}'").set_index(["dataset", "model"])
    for dataset, model in (("arc", "m0"), ("quiz", "m3")):
        before, after = (
            by_question(rows, model, dataset, lambda part: (
                part["correct"].astype(float) if measure == "accuracy"
                else (part["msp"] - part["correct"].astype(float)) ** 2
            ))
            for rows in frames
        )  # fmt: skip
        row: Any = table.loc[(dataset, model.upper())]
        assert row[["before", "after"]].to_list() == pytest.approx([before.mean(), after.mean()])
        expected = stats.ttest_rel(after, before)
        low, high = expected.confidence_interval()
        width = high - low
        assert row["p"] == pytest.approx(expected.pvalue, rel=0.35)
        assert row[["ci_low", "ci_high"]].to_list() == pytest.approx([low, high], abs=0.1 * width)
        assert row["n"] == row["n_before"] == 2 * QUESTIONS


def test_auroc_has_the_standard_error_of_the_jackknife(
    made: Study, frames: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    sides = []
    for rows in frames:
        chosen = rows[(rows["run"] == "m1") & (rows["benchmark"] == "arc")]
        sides.append([
            (part["correct"].to_numpy(bool), part["msp"].to_numpy(float))
            for _, part in chosen.groupby("prompt")
        ])  # fmt: skip

    def change(keep: np.ndarray) -> float:
        before, after = (
            np.mean([
                stats.mannwhitneyu(msp[keep][right[keep]], msp[keep][~right[keep]]).statistic
                / right[keep].sum() / (~right[keep]).sum()
                for right, msp in side
            ])
            for side in sides
        )  # fmt: skip
        return float(after - before)

    everything = np.arange(QUESTIONS)
    left_out = np.array([change(np.delete(everything, i)) for i in everything])
    se = np.sqrt((QUESTIONS - 1) * left_out.var())
    row = made.table("changes").query("measure == 'auroc' and dataset == 'arc' and model == 'M1'")
    assert row["change"].item() == pytest.approx(change(everything))
    expected = 2 * stats.t.sf(abs(change(everything)) / se, QUESTIONS - 1)
    assert stats.norm.isf(row["p"].item() / 2) == pytest.approx(
        stats.norm.isf(expected / 2), rel=0.1
    )


def test_means_take_models_as_the_sample(made: Study) -> None:
    table, means = made.table("changes"), made.table("mean_changes")
    assert set(means["dataset"]) == {"all", "arc", "quiz"}
    for dataset in ("all", "quiz"):
        part = table.query(f"dataset == '{dataset}' and measure == 'auroc'")
        row = means.query(f"dataset == '{dataset}' and measure == 'auroc'").iloc[0]
        expected = stats.ttest_1samp(part["change"], 0)
        assert row["p"] == pytest.approx(expected.pvalue)
        assert row["ci_low"] == pytest.approx(expected.confidence_interval().low)
        assert row[["models", "rises", "falls"]].tolist() == [4, *(
            int((sign * part["change"] > 0).sum()) for sign in (1, -1)
        )]  # fmt: skip
    whole = table.query("dataset == 'all'").set_index(["model", "measure"])["change"]
    cells = table.query("dataset != 'all'").groupby(["model", "measure"])["change"].mean()
    pd.testing.assert_series_equal(whole.sort_index(), cells, check_names=False)
    assert (table["p_holm"].dropna() >= table["p"].dropna()).all()


def test_the_papers_error_is_shown_and_not_tested(made: Study) -> None:
    for name in ("changes", "mean_changes"):
        rows = made.table(name).query("measure == 'calibration_error'")
        assert rows["change"].notna().all()
        assert rows[["p", "ci_low", "p_holm"]].isna().all(axis=None)


def test_other_questions_are_drawn_apart(
    frames: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    before, after = frames
    turned = before["question_id"].map(lambda name: f"{QUESTIONS - 1 - int(name):05d}")
    mixed = before.copy()
    mixed.loc[before["benchmark"] == "quiz", "question_id"] = turned
    with pytest.raises(InputError, match="quiz: right answers before and after do not go together"):
        run(tmp_path, mixed, after)
    found = run(tmp_path, mixed, after, unpaired=["quiz"]).table("changes")
    rows = found.query("dataset == 'quiz' and model == 'M2'").set_index("measure")
    assert not rows["paired"].any()
    assert abs(rows["correlation"].iloc[0]) < 0.15
    sides = [by_question(x, "m2", "quiz", lambda y: y["correct"].astype(float)) for x in frames]
    expected = stats.ttest_ind(*sides, equal_var=False).pvalue
    assert rows.loc["accuracy", "p"] == pytest.approx(expected, rel=0.35)
    paired = found.query("dataset == 'arc'")
    assert (paired["correlation"] > 0.15).all()


def test_missing_answers_leave_empty_cells(
    frames: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    before, after = frames
    lacks = (after["run"] == "m0") & (after["benchmark"] == "quiz")
    part = (after["run"] == "m1") & (after["prompt"] == "second_one")
    part &= (after["benchmark"] == "quiz") & (after["question_id"] >= "00100")
    found = run(tmp_path, before, after[~(lacks | part)])
    table = found.table("changes")
    empty = table.query("model == 'M0' and dataset == 'quiz'")
    assert empty[["before", "after", "change", "p"]].isna().all(axis=None)
    assert empty["n"].eq(0).all()
    assert set(table.query("model == 'M0'")["dataset"]) == {"arc", "quiz"}
    rows = table.query("model == 'M1' and measure == 'accuracy' and dataset == 'quiz'")
    assert rows[["n", "n_before"]].to_numpy().tolist() == [[QUESTIONS + 100] * 2]
    means = found.table("mean_changes").query("measure == 'auroc'").set_index("dataset")["models"]
    assert means.to_dict() == {"all": 3, "arc": 4, "quiz": 3}
    assert "M0 & 0 & -- & -- & -- & -- & --" in (found.folder / "changes.tex").read_text()


def test_own_runs_are_compared_by_question(tmp_path: Path) -> None:
    before = own_answers("m0", "arc", 120, 0.5, 0)
    after = own_answers("m0", "arc", 120, 0.5, 1)
    after = after[after["question_id"] != "arc-7"]
    prompts = {name: name for name in ("response", "answer")}
    only = {"models": MODELS[:1], "datasets": DATASETS[:1]}
    more = only | {"prompts": prompts, "before": only | {"study": "results/x"}}
    sure = run(tmp_path, before, before, **more).table("changes")
    assert sure["change"].eq(0).all()
    assert sure["p"].dropna().eq(1).all()
    right = pd.concat([before.head(3), before.tail(3)]).assign(question_id=[*"abc"] * 2, gold=0)
    right["letter_logits"] = pd.Series([np.array([3, 0, 0, 0], np.float32)] * 6, right.index)
    assert run(tmp_path, right, right, **more).table("changes")["p"].dropna().eq(1).all()
    table = run(tmp_path, before, after, **more).table("changes").set_index(["dataset", "measure"])
    row: Any = table.loc[("arc", "brier")]
    kept = before[before["question_id"] != "arc-7"]
    p = np.stack(kept["letter_logits"].to_list()).astype(float)
    p = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
    expected = brier_score_loss(p.argmax(axis=1) == kept["gold"], p.max(axis=1))
    assert row["before"] == pytest.approx(expected, rel=1e-4)
    assert row["n"] == row["n_before"] == 2 * 119


@pytest.mark.parametrize("paired", [True, False])
def test_tests_of_a_cell_keep_their_level(paired: bool) -> None:
    """Studies that differ in nothing, or in sharpness alone where both are calibrated.

    Phrasings and studies share each question's ease, so that their answers go together.
    """
    settings = ChangesTable(**params(bootstrap={"replicates": 100, "level": 0.95, "seed": 0}))
    generator = np.random.default_rng(3)
    p: dict[str, list[float]] = {name: [] for name in (*changes.TESTED, "blunter")}
    ids = [f"{i:05d}" for i in range(150)]

    def rows(ease: np.ndarray, blunt: bool) -> pd.DataFrame:
        right, msp = answers(generator, 0.0, ease)
        if blunt:  # calibrated too, with MSPs that hardly differ
            msp = 0.6 + 0.02 * generator.uniform(-0.5, 0.5, len(ease))
            right = generator.random(len(ease)) < msp
        return pd.DataFrame({"question_id": ids, "correct": right, "msp": msp}, ids)

    for _ in range(SIMULATIONS):
        first, other = generator.normal(0.5, 1.5, (2, 150))
        second = first if paired else other
        for blunt in (False, True):
            phrasings = [(rows(first, False), rows(second, blunt)) for _ in range(2)]
            found = changes.measured(changes.Cell("arc", "m0", phrasings, paired), settings, 0)
            for measure in ["debiased_ece2"] if blunt else changes.TESTED:
                effect = found[measure].effect
                assert effect is not None
                key = "blunter" if blunt else measure
                p[key].append(effects.effect_test(effect)["p"])
    for name, values in p.items():
        share = np.mean(np.array(values) < 0.05)
        # 200 tests at .05 reject at most .1 with 99.9 %; those of debiased errors may reject less
        assert share <= 0.1, f"{name}: {share}"
        assert share >= (0.0 if name in ("debiased_ece2", "blunter") else 0.01), f"{name}: {share}"


@needs_archives
def test_the_one_shot_release_is_compared_with_zero_shot(tmp_path: Path) -> None:
    """The whole of both archives: what the config says is missing, and which questions pair."""
    config = schema.load(checkout.config())
    frames = []
    for root, archive in ARCHIVES.items():
        job: Released = msp_params.release(config, root)
        rows, summary = released.records(
            released.files(archive, job.source.folder),
            models={model.file: model.max_logit for model in job.models},
            datasets=job.questions, prompts=job.prompts, missing=job.missing,
            manifest=released.read_manifest(checkout.REPO / str(job.source.manifest)),
        )  # fmt: skip
        frames.append(rows)
    assert summary["files"] == 1625
    assert msp_params.headline(config, ROOT).left_out == ["Falcon 7B", "Falcon 40B"]
    settings = msp_params.changes(config, ROOT).model_dump(mode="json")
    settings["bootstrap"]["replicates"] = 20
    with pytest.raises(InputError, match="mmlu: right answers before and after do not go together"):
        run(tmp_path, *frames, **settings | {"unpaired": []})
    table = run(tmp_path, *frames, **settings).table("changes")
    accuracy = table.query("measure == 'accuracy'").set_index(["dataset", "model"])
    together = accuracy["correlation"].groupby("dataset").mean()
    assert abs(together["mmlu"]) < 0.02
    assert together.drop(["all", "mmlu"]).min() > 0.15
    assert accuracy.loc[("truthfulqa", "Falcon 7B"), "n"] == 0
    assert accuracy.loc[("hellaswag", "Falcon 7B"), "n"] == 1500
    assert accuracy.loc[("hellaswag", "GPT4 Turbo"), "n"] == 11500
    assert len(accuracy.loc["all"]) == 10
