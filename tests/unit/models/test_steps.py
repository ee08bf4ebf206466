"""Optimizer steps of sft.train against plain ones in float64: reduction of the loss, and clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from multical.errors import InputError
from multical.models import sft
from multical.models.chat import IGNORED, Chat
from multical.models.examples import Examples
from multical.models.params import TrainingJob
from multical.params import canonical, parse
from multical.patches.trl import Filled
from support import tiny
from support.programs import TRAINING

STEPS = 4


def examples() -> Examples:
    return Examples.of(tiny.pairs(), Chat(tiny.tokenizer(), "plain"), 64, "")


def expected(kind: str, job: TrainingJob) -> tuple[list[float], list[float], dict[str, Any]]:
    """Losses per token, norms before the clip, and weights, from full logits one row at a time."""
    model = tiny.model(kind, len(tiny.tokenizer())).double().train()
    weights = dict(model.named_parameters())
    rows, b = examples().rows, job.smoothing
    assert job.learning_rate
    order, losses, norms = list(Filled(len(rows), len(rows), job.seed)), [], []
    for step in range(STEPS):
        batch = order[step * job.batch_size : (step + 1) * job.batch_size]
        terms = []
        for row in (rows[index] for index in batch):
            ids, labels = (torch.tensor(row[key]).long() for key in ("input_ids", "labels"))
            kept = labels[1:] != IGNORED
            logp = model(ids[None]).logits[0, :-1][kept].log_softmax(-1)
            label = logp.gather(1, labels[1:][kept][:, None])[:, 0]
            terms.append(-(1 - b) * label - b * logp.mean(-1))
        loss = torch.cat(terms)
        losses.append(loss.mean().item())
        reduced = loss.sum() if job.loss_reduction == "sum" else loss.mean()
        slopes = torch.autograd.grad(reduced, list(weights.values()))
        norm = torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt().item()
        norms.append(norm)
        rate = job.learning_rate * (STEPS - step) / STEPS * min(1, job.max_grad_norm / norm)
        with torch.no_grad():
            for weight, slope in zip(weights.values(), slopes, strict=True):
                weight -= rate * slope
    return losses, norms, {name: one.detach() for name, one in weights.items()}


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize(
    ("kind", "reduction", "rate", "most", "clipped"),
    [
        ("tied", "mean", 0.05, 1e3, [False] * STEPS),
        ("tied", "mean", 0.05, 0.5, [True] * STEPS),
        ("tied", "sum", 1e-3, 1e3, [False] * STEPS),
        ("gemma2", "sum", 0.05, 1.0, [True] * STEPS),
    ],
)
def test_steps_against_float64(
    kind: str,
    reduction: str,
    rate: float,
    most: float,
    clipped: list[bool],
    accumulation: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With plain gradient descent, since Adam would hide the scale of gradients."""
    changes: dict[str, Any] = {"loss_reduction": reduction, "max_grad_norm": most}
    changes |= {"batch_size": 2, "gradient_accumulation_steps": accumulation, "steps": STEPS}
    job = TrainingJob(**{**TRAINING, "learning_rate": rate, "warmup_ratio": 0.0, **changes})
    real = sft._arguments
    monkeypatch.setattr(sft, "_arguments", lambda *given: replace(real(*given), optim="sgd"))
    model = tiny.model(kind, len(tiny.tokenizer()))
    log, _ = sft.train(model, tiny.tokenizer(), examples(), job, tmp_path / "scratch")
    losses, norms, weights = expected(kind, job)
    assert [norm > most for norm in norms] == clipped
    assert [step["loss"] for step in log] == pytest.approx(losses, rel=1e-5)
    assert [step["grad_norm"] for step in log] == pytest.approx(norms, rel=1e-4)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.double(), weights[name], rtol=1e-4, atol=1e-5)


def test_defaults_are_in_no_text_of_a_job() -> None:
    """So that finished trainings stay as they are."""
    job = TrainingJob(**{**TRAINING, "loss_reduction": "mean", "max_grad_norm": 1.0})
    text = canonical(job)
    for told in (text, json.dumps(job.model_dump(mode="json"))):
        assert "loss_reduction" not in told
        assert "max_grad_norm" not in told
    other = TrainingJob(**{**TRAINING, "loss_reduction": "sum", "max_grad_norm": 0.5})
    assert other.model_dump(mode="json").items() >= {"loss_reduction": "sum"}.items()
    assert json.loads(canonical(other))["max_grad_norm"] == 0.5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss_reduction": "max"}, "loss_reduction: found 'max'"),
        ({"max_grad_norm": 0.0}, "max_grad_norm: found 0.0"),
    ],
)
def test_bad_values(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse(TrainingJob, json.dumps({**TRAINING, **changes}))
