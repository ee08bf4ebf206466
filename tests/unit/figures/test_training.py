"""The figure of trainings: it shows what loss logs say, and refuses logs that say nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import plot_training
from multical.config import schema
from multical.errors import InputError
from multical.figures import style, training_log
from multical.figures.params import TrainingFigure
from multical.params import canonical
from multical.workflow import job_params
from support import checkout

RAW = checkout.config()
CONFIG = schema.load(RAW)
ROOT = "results/smoke"


def step(number: int, steps: int, **changes: Any) -> dict[str, Any]:
    return {
        "step": number, "epoch": number / steps, "loss": 3.0 - number / steps, "grad_norm": 2.0,
        "entropy": 1.5, "learning_rate": 1e-4, "num_input_tokens_seen": 9, **changes,
    }  # fmt: skip


def write(path: str, steps: int) -> None:
    Path(path).parent.mkdir(parents=True)
    lines = (json.dumps(step(number, steps)) for number in range(1, steps + 1))
    Path(path).write_text("\n".join(lines) + "\n")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingFigure:
    """A study of runs with four steps each, in the working folder."""
    monkeypatch.chdir(tmp_path)
    study = job_params.training_figure(CONFIG, ROOT)
    for path in training_log.files(study):
        write(path, 4)
    return study


def drawn(told: TrainingFigure, monkeypatch: pytest.MonkeyPatch) -> Figure:
    argv = ["plot_training.py", "--params", canonical(told), "--code", "c0de"]
    argv += ["--pdf", "training.pdf", "--png", "training.png", "--sidecar", "training.json"]
    figures: list[Figure] = []
    real = style.finish
    monkeypatch.setattr(style, "finish", lambda figure, args: figures.append(figure))
    monkeypatch.setattr("sys.argv", argv)
    plot_training.main()
    monkeypatch.setattr(style, "finish", real)
    return figures[0]


def test_each_run_has_a_line_in_each_panel_of_its_model(
    told: TrainingFigure, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn(told, monkeypatch)
    assert len(figure.axes) == 4 * 2  # quantities, models
    of_a_model = len(told.runs) // 2
    lines = [
        [line for line in ax.lines if len(np.asarray(line.get_xdata())) == 4] for ax in figure.axes
    ]
    assert list(map(len, lines)) == [of_a_model] * 8
    assert lines[0][0].get_xdata() == pytest.approx([0.25, 0.5, 0.75, 1])
    assert lines[0][0].get_ydata() == pytest.approx([2.75, 2.5, 2.25, 2])
    colours = {line.get_color() for line in lines[0]}
    assert colours == {style.condition_style(run.smoothing)[0] for run in told.runs}
    assert np.asarray(figure.axes[2].lines[-1].get_ydata())[0] == told.max_grad_norm == 1.0


def test_long_runs_are_means_over_windows(told: TrainingFigure) -> None:
    path = training_log.files(told)[0]
    Path(path).unlink()
    Path(path).parent.rmdir()
    write(path, 1001)
    log = pd.DataFrame(training_log.read(path), columns=training_log.COLUMNS)
    shown = plot_training.windows(log)
    assert len(shown) == plot_training.POINTS
    sizes = np.diff(np.searchsorted(log["step"], shown["step"]))
    assert set(sizes) <= {4, 5, 6}
    assert shown["loss"].iloc[0] == pytest.approx(log["loss"].iloc[:6].mean())
    assert plot_training.windows(log.iloc[:200]) is not None


BAD = {
    "no file": (None, "not a readable loss log"),
    "no line": ("", "found no line, expected one for each step"),
    "no JSON": ("{\n", "not a readable loss log"),
    "a list": ("[1]\n", "line 1: step: found None, expected a number"),
    "no entropy": (json.dumps(step(1, 4)).replace("entropy", "x"), "line 1: entropy: found None"),
    "a text": (json.dumps(step(1, 4, loss="3")), "line 1: loss: found '3', expected a number"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_logs(name: str, told: TrainingFigure, monkeypatch: pytest.MonkeyPatch) -> None:
    content, sentence = BAD[name]
    path = Path(training_log.files(told)[0])
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=f"{path}: {sentence}"):
        drawn(told, monkeypatch)


def test_a_tool_that_shows_trainings_changes_no_job() -> None:
    raw = checkout.config()
    raw["studies"][ROOT]["training"]["report_to"] = "wandb"
    watched = schema.load(raw)
    assert job_params.report_to(watched, ROOT) == "wandb"
    assert job_params.report_to(CONFIG, ROOT) == "none"
    for run in job_params.trained(CONFIG, ROOT):
        jobs = [job_params.training(config, ROOT, run.id) for config in (CONFIG, watched)]
        assert canonical(jobs[0]) == canonical(jobs[1])
