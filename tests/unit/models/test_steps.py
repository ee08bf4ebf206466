"""Optimizer steps of sft.train against plain ones in float64: reduction of the loss, and clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from multical.errors import InputError
from multical.models import sft, smoothing
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
            logits = model(ids[None]).logits[0, :-1][kept]
            if cap := job.soft_cap:
                logits = cap * torch.tanh(logits / cap)
            logp = (logits / job.temperature).log_softmax(-1)
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


@pytest.mark.parametrize("kind", ["tied", "gemma2"])  # of which one has a soft cap of its own
@pytest.mark.parametrize(
    "remedy",
    [
        {"soft_cap": 2.0}, {"temperature": 0.25}, {"temperature": 1.5},
        {"soft_cap": 3.0, "temperature": 0.5, "smoothing": 0.2},
    ],
)  # fmt: skip
def test_soft_cap_and_temperature_against_float64(
    remedy: dict[str, float], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"smoothing": 0.0, "batch_size": 2, "steps": STEPS, **remedy}
    job = TrainingJob(**{**TRAINING, "learning_rate": 0.02, "warmup_ratio": 0.0, **changes})
    real = sft._arguments
    monkeypatch.setattr(sft, "_arguments", lambda *given: replace(real(*given), optim="sgd"))
    model = tiny.model(kind, len(tiny.tokenizer()))
    log, _ = sft.train(model, tiny.tokenizer(), examples(), job, tmp_path / "scratch")
    losses, norms, weights = expected(kind, job)
    assert [step["loss"] for step in log] == pytest.approx(losses, rel=1e-5)
    assert [step["grad_norm"] for step in log] == pytest.approx(norms, rel=1e-4)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.double(), weights[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("b", [0.0, 0.2])
@pytest.mark.parametrize("own", [None, 2.0])
@pytest.mark.parametrize("changed", [(1.5, 1.0), (None, 0.25), (3.0, 0.5)])
def test_gradients_of_changed_logits(changed: Any, own: float | None, b: float) -> None:
    """Of the loss alone, with every weight of a token, against autograd in float64."""
    draw = torch.Generator().manual_seed(8)
    given = [torch.randn(shape, generator=draw) for shape in ((4, 8), (50, 8), (50,))]
    targets, weights = torch.tensor([0, 1, 1, 49]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = [one.clone().requires_grad_() for one in given]
    logits = smoothing.Logits(*changed)
    logp, entropy, _ = smoothing.SmoothedLogProb.apply(*found, targets, own, b, 0.25, None, logits)
    (-logp * weights).sum().backward()
    wide = [one.double().requires_grad_() for one in given]
    z = wide[0] @ wide[1].T + wide[2]
    for cap in (own, changed[0]):
        z = z if cap is None else cap * torch.tanh(z / cap)
    p = (z / changed[1]).log_softmax(-1)
    loss = (1 - b) * p[range(4), targets] + b * p.mean(-1)
    (-loss * weights.double()).sum().backward()
    torch.testing.assert_close(logp.double(), loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entropy.double(), -(p.exp() * p).sum(-1), rtol=1e-5, atol=1e-5)
    for one, other in zip(found, wide, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-4, atol=1e-5)


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
        ({"soft_cap": -1.0}, "soft_cap: found -1.0"),
        ({"temperature": 0.0}, "temperature: found 0.0"),
    ],
)
def test_bad_values(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse(TrainingJob, json.dumps({**TRAINING, **changes}))
