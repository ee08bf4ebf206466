"""How fast a smoothed training step is at the papers' shapes, beside steps with other losses.

A step is forward and backward of one micro-batch through the trainer, in bfloat16 over float32
weights, with activation checkpointing as in config/paper1.yaml. The optimizer, which all share,
does not run, but room for its moments is taken. Losses are those of benchmarks/smoothed_sft.py.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

import smoothed_sft
from gpu_pack import shapes
from gpu_pack.machine import Machine
from gpu_pack.rows import Row, Verdict

#: Bytes of a weight in training: itself, its gradient, AdamW's moments, and itself in bfloat16
BYTES = 4 + 4 + 8 + 2
#: GB for activations
ROOM = 8
#: Time and memory of a smoothed step, at most, as shares of TRL's step without smoothing
LIMIT = 1.03
#: At most so many conversations
MOST = 32
TIMES = 3
OUT_OF_MEMORY = "out of memory"
#: Seconds and MB of a step, or why there are none
Cost = tuple[float, float] | str


def check(name: str) -> Callable[[Machine], Iterator[Row]]:
    """The check `train MODEL`."""
    return partial(train, name, name.removeprefix("train "))


def train(name: str, model_name: str, machine: Machine) -> Iterator[Row]:
    """Our smoothed step at the largest batch that fits, and the steps of others at that batch."""
    layers = fitting(model_name, machine)
    whole = shapes.config(model_name, machine).num_hidden_layers
    settings = shapes.config(model_name, machine, layers)
    model: Any = shapes.model(settings, machine, torch.float32).train()
    model.activation_checkpointing_enable()
    model.config.use_cache = False
    weights = sum(parameter.numel() for parameter in model.parameters())
    moments = torch.empty(8 * weights, dtype=torch.uint8, device=machine.device)
    sides = smoothed_sft.trainers(model, ["ours", *smoothed_sft.PEERS])
    length = 64 if machine.tiny else 1024
    rows = largest(sides["ours"], length, settings.vocab_size, machine)
    inputs = smoothed_sft.batch(settings.vocab_size, (rows, length), 0.0)
    while (found := steps(sides, inputs))["nll"] == OUT_OF_MEMORY and rows > 1:
        rows //= 2
        inputs = smoothed_sft.batch(settings.vocab_size, (rows, length), 0.0)
    kept = "" if layers == whole else f"{layers} of {whole} layers, "
    setting = f"{kept}{rows} x {length} tokens, bfloat16"
    if isinstance(ours := found["ours"], str):
        yield Row(name, setting, f"our step: {ours}", "", "NO")
        return
    yield speed(name, setting, model, ours, (rows, length), machine)
    for peer in smoothed_sft.PEERS:
        yield compared(name, setting, peer, ours, found.get(peer), machine)
    del moments


def fitting(model_name: str, machine: Machine) -> int:
    """How many layers of a model fit, with all that a training needs."""
    layers = int(shapes.config(model_name, machine).num_hidden_layers)
    while machine.card and layers > 1:
        needed = BYTES * shapes.size(shapes.config(model_name, machine, layers)) / 1e9 + ROOM
        if needed <= machine.memory:
            break
        layers -= 1
    return layers


def largest(trainer: Any, length: int, vocabulary: int, machine: Machine) -> int:
    """The largest power of two of conversations of which our step fits, or two if tiny."""
    if machine.tiny:
        return 2
    rows = 1
    while rows < MOST:
        inputs = smoothed_sft.batch(vocabulary, (2 * rows, length), 0.0)
        if steps({"ours": trainer}, inputs, times=1)["ours"] == OUT_OF_MEMORY:
            break
        rows *= 2
    return rows


def steps(sides: dict[str, Any], inputs: Any, times: int = TIMES) -> dict[str, Cost]:
    """Medians of each side's steps, taking turns; peers may fail."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    losses, failed = {}, {}
    for turn in range(times + 1):
        for name, trainer in sides.items():
            if name in failed:
                continue
            try:
                seconds, megabytes, loss = smoothed_sft.step(trainer, inputs, torch.bfloat16)
            except torch.OutOfMemoryError:
                failed[name] = OUT_OF_MEMORY
            except Exception as error:
                if name == "ours":
                    raise
                failed[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            else:
                losses[name] = loss
                if turn:  # the first fills caches
                    found[name].append((seconds, megabytes))
            if name in failed:
                trainer.model.zero_grad()
                torch.cuda.empty_cache()
    for name, loss in losses.items():
        if name not in smoothed_sft.PLAIN and not abs(loss / losses["ours"] - 1) <= 1e-2:
            failed.setdefault(name, f"its loss is {loss:.6g}, ours {losses['ours']:.6g}")
    return {name: failed.get(name) or medians(found[name]) for name in sides}


def medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    seconds, megabytes = zip(*pairs, strict=True)
    return statistics.median(seconds), statistics.median(megabytes)


def speed(
    check: str,
    setting: str,
    model: Any,
    ours: tuple[float, float],
    shape: tuple[int, int],
    machine: Machine,
) -> Row:
    """Tokens a second, model FLOP utilisation (recomputed activations not counted), and memory."""
    tokens = shape[0] * shape[1]
    peak, source = machine.peak
    share = flop(model, *shape) / ours[0] / peak
    found = f"{tokens / ours[0]:.4g} tokens/s, {share:.0%} of {source}, "
    found += f"{ours[0]:.3g} s, {ours[1] / 1e3:.1f} GB beside weights and moments"
    return Row(check, f"smoothed step, {setting}", found)


def flop(model: Any, rows: int, length: int) -> int:
    """Floating-point operations of forward and backward: three times those of the forward."""
    config = model.config
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    weights = sum(layer.weight.numel() for layer in layers)
    channels = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    keys = rows * length * (length + 1) // 2
    return 3 * (2 * rows * length * weights + 4 * keys * channels)


def compared(
    check: str,
    setting: str,
    peer: str,
    ours: tuple[float, float],
    theirs: Cost | None,
    machine: Machine,
) -> Row:
    """Our step's time and memory as shares of a peer's; None for a peer that is not here."""
    if theirs is None:
        found = f"{peer}: not in this torch, not installed, or without what this step needs"
        return Row(check, setting, found, peer, "absent")
    expected = {"nll": f"nll: at most {LIMIT} of both", "trained": "trained: what smoothing adds"}
    aim = expected.get(peer, f"{peer}: no slower")
    if isinstance(theirs, str):
        return Row(check, setting, f"its step: {theirs}", aim, "NO" if "loss is" in theirs else "-")
    time, memory = (own / other for own, other in zip(ours, theirs, strict=True))
    found = f"{time:.3f} of its time ({theirs[0]:.3g} s), {memory:.3f} of its memory"
    kept = max(time, memory) < LIMIT + 0.005 if peer == "nll" else time < 1.005
    ok: Verdict = "-" if machine.tiny or peer == "trained" else "yes" if kept else "missed"
    return Row(check, setting, found, aim, ok)
