"""Whether a GPU computes what it should. Each function is a check, and yields its rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from gpu_pack import shapes
from gpu_pack.machine import VISIBLE, Machine
from gpu_pack.rows import Row, within

SMOOTHING = 0.1
CAP = 30.0
#: Relative errors of the loss and of its gradients
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def loss(machine: Machine) -> Iterator[Row]:
    """The smoothed loss and its gradients by its definition, from all logits in float64."""
    from multical.models.smoothing import SmoothedLogProb

    tokens, width, vocabulary = (24, 16, 400) if machine.tiny else (256, 2304, 256_000)
    for dtype, cap in product(TOLERANCES, (None, CAP)):
        torch.manual_seed(0)
        spread = 2 * width**-0.5
        hidden = torch.randn(tokens, width, device=machine.device).to(dtype)
        weight = (spread * torch.randn(vocabulary, width, device=machine.device)).to(dtype)
        targets = torch.randint(vocabulary, (tokens,), device=machine.device)
        exact = [tensor.double().requires_grad_() for tensor in (hidden, weight)]
        expected = _defined(exact[0], exact[1], targets, cap)
        expected.backward()
        ours = [tensor.requires_grad_() for tensor in (hidden, weight)]
        share = 1 / tokens
        logp, *_ = SmoothedLogProb.apply(*ours, None, targets, cap, SMOOTHING, share, None)
        found = -(logp * share).sum()
        found.backward()
        pairs = [(found, expected), *((a.grad, b.grad) for a, b in zip(ours, exact, strict=True))]
        off = max(_off(a, b) for a, b in pairs)
        setting = f"{_name(dtype)}, {tokens} x {vocabulary} logits, soft cap {cap or 'none'}"
        yield within("loss", setting, off, TOLERANCES[dtype], "relative error to float64")
        del exact, ours, expected, found, pairs, logp


def _defined(hidden: Tensor, weight: Tensor, targets: Tensor, cap: float | None) -> Tensor:
    logits = hidden @ weight.T
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    logp = logits.log_softmax(-1)
    nll = -logp.gather(1, targets[:, None])[:, 0]
    return ((1 - SMOOTHING) * nll + SMOOTHING * -logp.mean(-1)).mean()


def _off(found: Any, expected: Any) -> float:
    return float((found.double() - expected).norm() / expected.norm())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def step(machine: Machine) -> Iterator[Row]:
    """The trainer's loss and the gradients of all weights of a model, against float64."""
    import smoothed_sft

    small = Machine(machine.card, True, machine.given)
    for name in ("gemma-2-2b", "llama-3.1-8b"):
        settings = shapes.config(name, small)
        inputs = smoothed_sft.batch(settings.vocab_size, (4, 48), 0.25)
        exact: Any = shapes.model(settings, small, torch.float32).double().train()
        logits = exact(inputs["input_ids"]).logits[:, :-1]
        labels = inputs["labels"][:, 1:]
        kept = labels >= 0
        logp = logits[kept].log_softmax(-1)
        nll = -logp.gather(1, labels[kept][:, None])[:, 0]
        expected = ((1 - SMOOTHING) * nll + SMOOTHING * -logp.mean(-1)).mean()
        expected.backward()
        made: Any = shapes.model(settings, small, torch.float32).train()
        trainer = smoothed_sft.trainers(made, ["ours"])["ours"]
        found = trainer.compute_loss(made, dict(inputs), num_items_in_batch=kept.sum())
        found.backward()
        slopes = zip(made.parameters(), exact.parameters(), strict=True)
        pairs = [(found, expected), *((a.grad, b.grad) for a, b in slopes)]
        off = max(_off(a, b) for a, b in pairs)
        yield within(
            "step", f"{name} at a tiny shape, float32", off, 1e-4, "relative error to float64"
        )


def scores(machine: Machine) -> Iterator[Row]:
    """Scores against one plain forward per text, in float32; in bfloat16 as near as those are."""
    from support import plain_scores

    for name, window, dtype in (
        ("llama-3.1-8b", None, torch.float32),
        ("gemma-2-2b", None, torch.float32),
        ("mistral-7b", 16, torch.float32),
        ("llama-3.1-8b", None, torch.bfloat16),
        ("gemma-2-2b", None, torch.bfloat16),
    ):
        more = {} if window is None else {"sliding_window": window}
        settings = shapes.config(name, machine, layers=2, **more)
        model = shapes.model(settings, machine, dtype)
        asked = plain_scores.questions(40, vocabulary=settings.vocab_size)
        asked = asked[-5:] if machine.tiny else asked  # a CPU may take long in bfloat16
        found = plain_scores.flat(plain_scores.score(model, asked))
        plain = plain_scores.flat([plain_scores.plainly(model, one) for one in asked])
        near = _apart(found, plain)
        setting = f"{name}, 2 layers{f', window {window}' if window else ''}, {_name(dtype)}"
        if dtype == torch.float32:
            yield within("scores", setting, near, 1e-3, "nats from plain forwards")
            continue
        model.float()
        exact = plain_scores.flat([plain_scores.plainly(model, one) for one in asked])
        theirs = 1.5 * _apart(plain, exact) + 0.02
        found_off = _apart(found, exact)
        yield within(
            "scores", setting, found_off, theirs, "nats from float32; plain forwards' x 1.5"
        )


def _apart(left: list[float], right: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def records(machine: Machine) -> Iterator[Row]:
    """The records of score_run.py, here and on the processor."""
    import pandas as pd

    from multical.data import questions
    from support import tiny
    from support.programs import SCORING

    columns = ["letter_logits", "logsumexp", "text_logliks"]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = tiny.folder(folder / "model", "gemma2")
        file = folder / "questions.parquet"
        texts = [("Euro", "Franc", "Yen"), ("Japanese", "Korean", "French", "Russian")]
        frame = pd.DataFrame(
            {
                "question_id": f"q{number}",
                "language": language,
                "question": f"What is the currency or the language of {number}?",
                "options": list(texts[number % 2]),
                "answer": number % 3,
            }
            for number, language in product(range(6), ("en", "ko"))
        )
        questions.write(file, frame)
        for dtype, tolerance in (("float32", 1e-3), ("bfloat16", 0.1)):
            if dtype == "bfloat16" and not machine.card:
                continue
            params = json.dumps({**SCORING, "dtype": dtype})
            found = []
            for place in ("here", "cpu"):
                hidden = {VISIBLE: ""} if place == "cpu" else {}
                output = folder / f"{place}.{dtype}.parquet"
                words = ["--model", model, "--questions", file, "--params", params]
                words += ["--output", output, "--usage", folder / "usage.json"]
                words += ["--scratch", folder / f"{place}.{dtype}"]
                _program("score_run.py", words, hidden)
                found.append(pd.read_parquet(output)[columns].map(_listed))
            off = [
                _apart(a, b)
                for a, b in zip(*(one.to_numpy().ravel() for one in found), strict=True)
                if a is not None
            ]
            setting = f"12 questions, {dtype}, {machine.card or 'CPU'} against CPU"
            yield within("records", setting, max(off), tolerance, "nats or logits apart")


def _listed(value: Any) -> list[float] | None:
    if value is None or (isinstance(value, float) and value != value):
        return None
    return [float(one) for one in ([value] if isinstance(value, float) else value)]


def _program(
    name: str, words: list[Any], more: dict[str, str], environment: dict[str, str] | None = None
) -> None:
    """Run a program of scripts/; raises `RuntimeError` with its last line if it fails."""
    command = [sys.executable, str(SCRIPTS / name), *map(str, words)]
    done = subprocess.run(
        command, env={**(environment or os.environ), **more}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{name}: exit code {done.returncode}: {done.stderr.strip()[-300:]}")


def nf4(machine: Machine) -> Iterator[Row]:
    """A model in 4 bits, against the model of its dequantized weights."""
    try:
        import bitsandbytes
    except ImportError as error:
        yield Row("nf4", "", f"bitsandbytes does not load: {error}", "", "absent")
        return
    from multical.models import quantized
    from support import plain_scores, tiny

    with TemporaryDirectory() as temporary:
        manifest = tiny.folder(Path(temporary), "llama")
        checkpoint = manifest.parent / "checkpoint"
        packed, _ = quantized.load(checkpoint, "float32")
    plain: Any = tiny.model("llama", packed.config.vocab_size)
    plain.to(machine.device)
    for name, layer in packed.named_modules():
        if isinstance(layer, bitsandbytes.nn.Linear4bit):
            weight: Any = layer.weight
            whole = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
            plain.get_submodule(name).weight.data.copy_(whole)
    asked = plain_scores.questions(12, vocabulary=packed.config.vocab_size)
    found = plain_scores.flat(plain_scores.score(packed, asked))
    expected = plain_scores.flat([plain_scores.plainly(plain, one) for one in asked])
    off = _apart(found, expected)
    yield within("nf4", "tiny, float32", off, 1e-2, "nats from plain forwards, dequantized")


#: Kinds of support.tiny: gemma2 caps its scores, and has no kernels but its own; llama has torch's
KINDS = ("gemma2", "llama")


def batches(machine: Machine) -> Iterator[Row]:
    """A training without padding, or with activation checkpointing: the weights of a plain one."""
    scales: list[dict[str, Any]] = [
        {"padding_free": True},
        {"activation_checkpointing": True},
        {"padding_free": True, "activation_checkpointing": True, "precision": "bfloat16"},
    ]
    for kind in KINDS[: 2 if machine.card else 1]:
        with TemporaryDirectory() as folder:
            plain = _trained(Path(folder), kind)
        for scale in scales:
            with TemporaryDirectory() as folder:
                found = _trained(Path(folder), kind, scale)
            tolerance = 0.3 if "precision" in scale else 1e-2
            setting = f"{kind}, {', '.join(scale).replace('precision', 'bfloat16')}"
            yield within("batches", setting, _moved(found, plain, kind), tolerance, MOVED)


def resume(machine: Machine) -> Iterator[Row]:
    """A run that was interrupted, and one that was not: the same weights to the bit."""
    cases = [*product(KINDS, ("float32", "bfloat16"))]
    for kind, precision in cases[: 4 if machine.card else 1]:
        setting = f"{kind}, {precision}, 8 steps, cut off in the 5th"
        with TemporaryDirectory() as folder:
            try:
                whole = _trained(Path(folder) / "whole", kind, {"precision": precision})
            except RuntimeError as error:
                if "deterministic" not in str(error):
                    raise
                yield Row("resume", setting, f"no deterministic algorithm: {error}"[:200], "", "NO")
                continue
            resumed = _cut_off(Path(folder) / "cut", kind, {"precision": precision})
        off = sum(not torch.equal(whole[name], resumed[name]) for name in whole)
        yield within("resume", setting, off, 0, "weights differ")


def _cut_off(folder: Path, kind: str, scale: dict[str, Any]) -> dict[str, Tensor]:
    """The weights of a tiny training that went on after its fifth step was lost."""
    from multical.models.sft import SmoothedTrainer
    from multical.patches.replace import replaced

    log = SmoothedTrainer.log

    def stop(self: Any, *args: Any) -> None:
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        log(self, *args)

    with replaced(SmoothedTrainer, "log", stop), suppress(KeyboardInterrupt):
        _trained(folder, kind, scale)
    return _trained(folder, kind, scale)


#: Of the weights that a training moved
MOVED = "of the change by training"


def _trained(
    folder: Path, kind: str = KINDS[0], scale: dict[str, Any] | None = None, **more: Any
) -> dict[str, Tensor]:
    """The weights after a tiny training, which goes on in its folder."""
    from multical.models import sft
    from multical.models.chat import Chat
    from multical.models.examples import Examples
    from multical.models.params import TrainingJob
    from support import tiny
    from support.programs import TRAINING

    job = TrainingJob(**{**TRAINING, "scale": scale or {}, **more})
    model, tokenizer = tiny.model(kind), tiny.tokenizer()
    if torch.cuda.is_available():
        model.to("cuda")
    examples = Examples.of(tiny.pairs(), Chat(tokenizer, "plain"), job.max_length, "pairs")
    sft.train(model, tokenizer, examples, job, folder)
    return {name: weight.detach().cpu() for name, weight in model.named_parameters()}


def _moved(found: dict[str, Tensor], expected: dict[str, Tensor], kind: str = KINDS[0]) -> float:
    """How far two trainings ended from each other, relative to how far one went."""
    from support import tiny

    start = dict(tiny.model(kind).named_parameters())
    apart = sum(float((found[name] - expected[name]).square().sum()) for name in expected)
    went = sum(float((start[name] - expected[name]).square().sum()) for name in expected)
    return (apart / went) ** 0.5


def processes(machine: Machine) -> Iterator[Row]:
    """train_sft.py in two processes, with FSDP where there are two cards, against one process."""
    from safetensors.torch import load_file

    from multical.data import conversations
    from support import tiny
    from support.programs import command

    environment, cards = machine.all_cards()
    if cards == 1:
        yield Row("processes", "two, with FSDP", "one card here, two are needed", "", "absent")
        return
    scale = {"processes": 2, "sharding": "fsdp" if cards else "none"}
    with TemporaryDirectory() as temporary:
        base = Path(temporary)
        tiny.folder(base / "base", KINDS[0])
        conversations.write(base / "data.jsonl", tiny.pairs())
        script, *words = command(base, "two", scale=scale, steps=4)
        _program(Path(script).name, words, {}, environment)
        found = load_file(base / "two" / "checkpoint" / "model.safetensors")
        alone = _trained(base / "one", steps=4)
    setting = f"two, {'FSDP' if cards else 'on the CPU, without FSDP'}, against one, 4 steps"
    yield within("processes", setting, _moved(found, alone), 1e-2, MOVED)
