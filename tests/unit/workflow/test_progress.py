"""The time left of a run, from made streams of events."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from multical import paths
from multical.config import files
from multical.workflow import progress
from multical.workflow.progress import Expectations, Progress
from multical.workflow.timings import START_SECONDS

COUNTS = {"train_sft": 2, "score_run": 4}
EXPECTED = {"train_sft": 100.0, "score_run": 50.0}
RUN = {"root": "results/demo", "run": "some-model"}


class Known(Expectations):
    """Expects what the test says."""

    def seconds(self, rule: str, wildcards: object, record: str | None) -> float:
        return EXPECTED[rule]

    def mean(self, rule: str) -> float:
        return EXPECTED[rule]


@pytest.fixture
def run() -> Progress:
    return Progress(COUNTS, cores=2, began=0, expected=Known())


def test_the_time_left_goes_down_while_a_job_runs(run: Progress) -> None:
    run.start(1, "train_sft", RUN, cores=2, now=0)
    # two trainings that take both cores, then four scorings, two at a time
    assert run.left(0) == 100 + 100 + 100
    assert run.left(40) == 300 - 40
    run.end(1, 100)
    assert run.left(100) == 200


def test_slower_jobs_than_expected_make_all_that_are_alike_longer(run: Progress) -> None:
    run.start(1, "train_sft", RUN, cores=2, now=0)
    run.end(1, 300)
    assert run.left(300) == 300 + 4 * 150 / 2  # scorings run models, too


def test_a_rule_is_corrected_by_its_own_jobs_first(run: Progress) -> None:
    run.start(1, "train_sft", RUN, cores=2, now=0)
    run.end(1, 300)
    run.start(2, "score_run", RUN, cores=1, now=300)
    run.end(2, 350)
    assert run.left(350) == 300 + 3 * 50 / 2


def test_a_job_that_is_late_says_that_more_will_be(run: Progress) -> None:
    run.start(1, "train_sft", RUN, cores=2, now=0)
    assert run.left(200) == 2 * 100 + 4 * 100 / 2


def test_the_last_job_cannot_be_shared_among_cores() -> None:
    run = Progress({"score_run": 1}, cores=2, began=0, expected=Known())
    run.start(1, "score_run", RUN, cores=1, now=0)
    assert run.left(10) == 40


def test_a_failed_job_is_to_be_run_again(run: Progress) -> None:
    before = run.left(0)
    run.start(1, "train_sft", RUN, cores=2, now=0)
    run.fail(1)
    assert (run.left(50), run.ended.total(), len(run.bars(50))) == (before + 100, 0, 1)
    run.start(1, "train_sft", RUN, cores=2, now=60)
    assert run.end(1, 160) == "train_sft some-model took 2 min"
    assert run.line(160).startswith("1 of 6 jobs, ")


def test_the_line_says_when_it_is_an_estimate(run: Progress) -> None:
    assert run.line(0) == "0 of 6 jobs, 0%, about 3 min left (estimate)"
    run.start(1, "train_sft", RUN, cores=2, now=0)
    run.end(1, 100)
    assert run.line(100) == "1 of 6 jobs, 33%, 3 min left"


def test_bars_of_the_run_and_of_the_jobs_that_run(run: Progress) -> None:
    run.start(1, "train_sft", RUN, cores=2, now=0)
    run.start(2, "score_run", RUN, cores=1, now=10)
    assert run.bars(30) == [
        ("0 of 6 jobs", 30 / (30 + run.left(30)), "about 4 min left"),
        ("train_sft some-model", 0.3, "30 s of about 2 min"),
        ("score_run some-model", 0.4, "20 s of about 50 s"),
    ]
    late = run.bars(200)
    assert late[1] == ("train_sft some-model", 0.99, "3 min")


def test_a_job_has_come_as_far_as_it_counts(run: Progress, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run.start(1, "train_sft", RUN, cores=2, now=0, log=str(log))
    assert run.bars(30)[1].share == 0.3  # it has not counted yet
    counted(log, 7, 32)
    assert run.bars(30)[1] == ("train_sft some-model", 0.22, "7/32, 30 s")


def counted(log: Path, done: int, total: int, **options: Any) -> None:
    """Write what a job does that counts its work."""
    with open(log, "a", encoding="utf-8") as stream:
        bar = tqdm(total=total, file=stream, mininterval=0, miniters=1, **options)
        for _ in range(done):
            bar.set_postfix(loss="5.5544")
            bar.update()


def test_counts_are_those_of_the_last_bar(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert progress.counts(str(log), 0) is None
    log.write_text("340 conversations, 1052 tokens (0 truncated)\n")
    assert progress.counts(str(log), 0) is None
    counted(log, 236, 236, desc="Loading weights")
    assert progress.counts(str(log), 0) is None  # no work of its own
    counted(log, 104, 4140, desc="a run on a benchmark", unit="question")
    assert progress.counts(str(log), 0) == (0.03, "104/4140")
    counted(log, 3, 8, ascii=True, unit="B", unit_scale=True, unit_divisor=1024)
    assert progress.counts(str(log), 0) == (0.38, "3.00/8.00")
    counted(log, 2, 2, desc="Loading weights")
    assert progress.counts(str(log), 0) == (0.38, "3.00/8.00")


def test_the_log_of_an_earlier_run_counts_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    counted(log, 3, 8)
    os.utime(log, (50, 50))
    assert progress.counts(str(log), 50) == (0.38, "3/8")
    assert progress.counts(str(log), 51) is None


def test_a_log_of_other_bytes_has_no_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(bytes(range(256)) * 20)
    assert progress.counts(str(log), 0) is None


def test_the_end_says_how_long_it_took() -> None:
    run = Progress({"score_run": 1}, cores=2, began=0, expected=Known())
    run.start(1, "score_run", RUN, cores=1, now=0)
    run.end(1, 7500)
    assert run.line(7500) == "1 of 1 jobs in 2 h 05 min"
    assert run.left(7500) == 0


def test_nothing_to_do() -> None:
    assert Progress({}, cores=2, began=0).line(3) == "0 of 0 jobs in 3 s"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with multical's config, in which nothing has run."""
    monkeypatch.chdir(tmp_path)
    for name in ("config.yaml", "config"):
        Path(name).symlink_to(Path(__file__).parents[3] / name)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_models_are_expected_to_take_as_long_as_their_tokens_say() -> None:
    smoke = progress.expectations(["--cores", "2", "results/smoke/headline.txt"])
    demo = progress.expectations(["results/demo/headline.txt"])
    assert (smoke.roots, demo.roots) == (["results/smoke"], ["results/demo", "results/demo/msp"])
    for rule in ("train_sft", "score_run"):
        assert START_SECONDS < smoke.mean(rule) < demo.mean(rule) < 3600
    assert smoke.mean("plot_culture") == progress.OTHER


def test_a_job_is_expected_to_take_what_it_took_but_not_what_smaller_ones_took(
    folder: Path,
) -> None:
    job = {"root": "results/smoke", "run": "gemma3-270m.facts.ls0.s0"}
    other = job | {"root": "results/demo"}
    before = progress.expectations([]).seconds("train_sft", other, None)
    record = folder / paths.TRAINING_TIMING.format(**job)
    record.parent.mkdir(parents=True)
    record.write_text("s\n77.0\n", encoding="utf-8")
    after = progress.expectations([])
    assert after.seconds("train_sft", job, str(record)) == 77
    assert after.seconds("train_sft", other, None) == before


@pytest.mark.usefixtures("folder")
def test_the_paper_study_is_not_all_studies() -> None:
    assert progress.made(files.load(), ["results/headline.txt"]) == ["results"]


def test_a_folder_without_a_config_has_declared_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = progress.expectations(["b"])
    assert expected.seconds("fetch_model", {}, None) == progress.SECONDS["fetch_model"]
    assert expected.mean("train_sft") == progress.OTHER
