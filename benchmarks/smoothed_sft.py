"""Item 1: what a smoothed SFT step costs, beside a step without smoothing and other ways to smooth.

A step is forward and backward of one micro-batch through the trainer, without the optimizer,
which all share. Models have the sizes of Gemma 3 270M (vocabulary 262,144; also with a soft
cap of 30 on its logits, as Gemma 2) and of SmolLM2 135M (49,152), and random weights. Batches
are conversations of one length, trained on whole or on their last quarter: on CPUs, TRL's
head scores masked positions too, ours does not. Peers:

    nll      TRL's own step, without smoothing
    trained  the same of trained positions only (ours with b = 0): what smoothing itself adds
    trl      TRL with label_smoothing_factor
    torch    torch.nn.functional.linear_cross_entropy with label_smoothing, trained positions
             (its options= make no whole logits, but in torch 2.13 not with label_smoothing)
    liger    Liger's fused linear cross entropy with label_smoothing, likewise; on GPUs,
             where it is installed
    cce      cut cross entropy, which has no smoothing, likewise

torch's has no soft cap: not on capped heads.
All sides take turns in one process. Time is wall time, so nothing else should run meanwhile.
Memory is the peak of a step over what was held before it (resident, reset by
/proc/self/clear_refs; on a GPU, allocated). What ours keeps for the next gradient counts as well.
bfloat16 is autocast over float32 weights. ratio: theirs / ours, so that more than 1 is better.

A whole run takes some 20 minutes on two cores; --models, --types and --masked cut it into pieces.
--small is 2 x 64 tokens a step rather than 4 x 128. Only a whole run is recorded.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from trl import SFTConfig, SFTTrainer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from multical.models.chat import IGNORED
from multical.models.sft import SmoothedTrainer
from recording import note, record, row

SMOOTHING = 0.1
GEMMA: dict[str, Any] = {
    "vocab_size": 262_144,
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 512,
    "max_position_embeddings": 32_768,
}
SMOLLM: dict[str, Any] = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
MODELS: dict[str, Callable[[], Any]] = {
    "gemma3-270m": lambda: Gemma3TextConfig(**GEMMA),
    "gemma3-270m, soft cap": lambda: Gemma3TextConfig(**GEMMA, final_logit_softcapping=30.0),
    "smollm2-135m": lambda: LlamaConfig(**SMOLLM),
}
PEERS = ["nll", "trained", "trl", "torch", "liger", "cce"]
#: Those that do not smooth
PLAIN = ("nll", "trained", "cce")
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


#: The summed loss of trained hidden states, weight and labels
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


class Alternative(SFTTrainer):
    """A trainer with another loss."""

    def __init__(self, loss: Loss, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.summed = loss

    def compute_loss(self, model: Any, inputs: Any, *_: Any, num_items_in_batch: Any = None) -> Any:
        labels = torch.nn.functional.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORED)
        trained = labels != IGNORED
        backbone = {key: inputs[key] for key in ("input_ids", "attention_mask")}
        hidden = model.model(**backbone, use_cache=False).last_hidden_state[trained]
        return self.summed(hidden, model.lm_head.weight, labels[trained]) / num_items_in_batch


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--times", type=int, default=3, help="alternating runs")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--types", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--peers", nargs="+", default=PEERS)
    parser.add_argument("--masked", nargs="+", type=float, default=[0.0, 0.75], help="shares")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    shape = (2, 64) if arguments.small else (4, 128)
    whole = vars(arguments) == vars(parser.parse_args(["--threads", str(arguments.threads)]))
    rows: list[dict[str, str]] = []
    for name in arguments.models:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(MODELS[name]()).train().to(DEVICE)
        sides = trainers(model, ["ours", *arguments.peers])
        for dtype, masked in product(arguments.types, arguments.masked):
            inputs = batch(model.config.vocab_size, shape, masked)
            found = measured(sides, inputs, getattr(torch, dtype), arguments.times)
            setting = f"{name}, {dtype}, {shape[0]} x {shape[1]} tokens, {masked:.0%} masked"
            rows += compared(f"{setting}, {hardware()}", found)
            note("\n".join(map(str, rows[-2 * len(found) + 2 :])))
    record("smoothed_sft", rows, trial=not whole)


def hardware() -> str:
    return torch.cuda.get_device_name() if CUDA else f"{torch.get_num_threads()} threads"


def trainers(model: Any, wanted: list[str]) -> dict[str, Any]:
    """Each side's trainer. All patch the model's forward in the same way, with TRL's head."""
    words = Tokenizer(WordLevel({"<unk>": 0, "<eos>": 1, "<pad>": 2}, unk_token="<unk>"))
    common: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_list([{"input_ids": [0, 5], "labels": [IGNORED, 5]}]),
        "processing_class": PreTrainedTokenizerFast(
            tokenizer_object=words, eos_token="<eos>", pad_token="<pad>"
        ),
    }
    fixed: dict[str, Any] = {
        "output_dir": tempfile.gettempdir(),
        "use_cpu": not CUDA,
        "bf16": False,
    }
    fixed |= {"activation_checkpointing": False, "max_length": None, "report_to": "none"}
    fixed |= {"dataset_kwargs": {"skip_prepare_dataset": True}}
    args = SFTConfig(**fixed)
    smoothed = SFTConfig(**fixed, label_smoothing_factor=SMOOTHING)
    made: dict[str, Callable[[], Any]] = {
        "ours": lambda: SmoothedTrainer(SMOOTHING, args=args, **common),
        "nll": lambda: SFTTrainer(args=args, **common),
        "trained": lambda: SmoothedTrainer(0.0, args=args, **common),
        "trl": lambda: SFTTrainer(args=smoothed, **common),
    }
    for name, loss in alternatives(getattr(model.config, "final_logit_softcapping", None)).items():
        made[name] = partial(Alternative, loss, args=args, **common)
    return {name: make() for name, make in made.items() if name in wanted}


def alternatives(cap: float | None) -> dict[str, Loss]:
    """The losses of other libraries that are here, and can cap logits if there is a cap."""
    made: dict[str, Loss | None] = {}
    if cap is None and hasattr(torch.nn.functional, "linear_cross_entropy"):  # not in torch 2.11
        made["torch"] = torch_loss
    if CUDA:
        made |= {"liger": liger_loss(cap), "cce": cut_loss(cap)}
    return {name: loss for name, loss in made.items() if loss}


def torch_loss(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.linear_cross_entropy(
        hidden, weight, labels, reduction="sum", label_smoothing=SMOOTHING
    )


def liger_loss(cap: float | None) -> Loss | None:
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
    except ImportError:
        return None
    loss = LigerFusedLinearCrossEntropyLoss(label_smoothing=SMOOTHING, reduction="sum", softcap=cap)
    return lambda hidden, weight, labels: loss(weight, hidden, labels)


def cut_loss(cap: float | None) -> Loss | None:
    try:
        from cut_cross_entropy import linear_cross_entropy
    except ImportError:
        return None

    def loss(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        half = torch.bfloat16  # it takes no float32
        given = hidden.to(half), weight.to(half), labels
        summed: Tensor = linear_cross_entropy(*given, softcap=cap, reduction="sum")
        return summed

    return loss


def batch(vocabulary: int, shape: tuple[int, int], masked: float) -> dict[str, Tensor]:
    """Rows of one length, the first part of each a prompt."""
    draw = torch.Generator().manual_seed(0)
    made = {"input_ids": torch.randint(3, vocabulary, shape, generator=draw)}
    made["labels"] = made["input_ids"].clone()
    made["labels"][:, : int(shape[1] * masked)] = IGNORED
    made["attention_mask"] = torch.ones(shape, dtype=torch.long)
    return {name: values.to(DEVICE) for name, values in made.items()}


def measured(
    sides: dict[str, Any], inputs: dict[str, Tensor], dtype: torch.dtype, times: int
) -> dict[str, tuple[float, float]]:
    """Median seconds and MB of each side, taking turns; smoothed losses must agree."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    losses = {}
    for turn in range(times + 1):
        for name, trainer in sides.items():
            seconds, megabytes, losses[name] = step(trainer, inputs, dtype)
            if turn:  # the first fills caches
                found[name].append((seconds, megabytes))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    for name, loss in losses.items():
        if name not in PLAIN and abs(loss / losses["ours"] - 1) > tolerance:
            raise SystemExit(f"error: {name}: loss {loss}, expected {losses['ours']}")
    return {
        name: (statistics.median(s for s, _ in one), statistics.median(m for _, m in one))
        for name, one in found.items()
    }


def step(trainer: Any, inputs: dict[str, Tensor], dtype: torch.dtype) -> tuple[float, float, float]:
    """Seconds, MB and loss of one step: forward and backward."""
    count = (inputs["labels"][:, 1:] != IGNORED).sum()
    trainer.model.zero_grad()
    gc.collect()
    before, start = held(reset=True) - kept(trainer), time.perf_counter()
    with torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32):
        loss = trainer.compute_loss(trainer.model, dict(inputs), num_items_in_batch=count)
    loss.backward()
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() - start, held() - before, float(loss)


def kept(trainer: Any) -> float:
    """MB that a trainer keeps from the step before for the gradient of a tied embedding."""
    uses = getattr(trainer, "uses", None)
    room = uses.room() if uses else None
    return 0.0 if room is None else room.nbytes / 1e6


def held(reset: bool = False) -> float:
    """MB held at most since the last reset."""
    if CUDA:
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 1e6
    if reset:
        ctypes.CDLL(None).malloc_trim(0)  # give back what was freed, or it would hide new needs
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def compared(setting: str, found: dict[str, tuple[float, float]]) -> list[dict[str, str]]:
    return [
        row(peer, setting, found["ours"][index], values[index], unit)
        for index, unit in enumerate(("s", "MB"))
        for peer, values in found.items()
        if peer != "ours"
    ]


if __name__ == "__main__":
    main()
