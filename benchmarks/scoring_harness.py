"""lm-evaluation-harness on the tasks of a folder: the peer of benchmarks/scoring.py.

Runs in an environment of the harness, not of multical. Writes as JSON the seconds that its
`loglikelihood` took, by the wall and by the processor, tokenising included, loading and the
building of prompts left out, and of each task the texts that were asked and their
log-likelihoods, in the order of the questions.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager


class TimedLM(HFLM):
    """The harness's own model class, with a clock on its work."""

    wall = cpu = 0.0

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        found = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, metavar="FOLDER")
    parser.add_argument("--tasks", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--matmul-precision", required=True)
    parser.add_argument("--batch", required=True, type=int, help="prompts in a batch")
    parser.add_argument("--softmax-dtype", help="of the logits' softmax (default: the model's)")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    torch.set_float32_matmul_precision(args.matmul_precision)
    model = TimedLM(
        pretrained=args.model,
        dtype=args.dtype,
        softmax_dtype=args.softmax_dtype,
        device="cpu",
        batch_size=args.batch,
        add_bos_token=True,
    )
    names = sorted(file.stem for file in args.tasks.glob("*.yaml"))
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=names,
        task_manager=TaskManager(include_path=str(args.tasks), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    assert found is not None
    tasks = {}
    for name in names:
        samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        tasks[name] = [
            {
                "asked": [list(asked) for asked in _values(sample["arguments"])],
                "logliks": [float(pair[0]) for pair in sample["filtered_resps"]],
            }
            for sample in samples
        ]
    args.output.write_text(json.dumps({"wall": model.wall, "cpu": model.cpu, "tasks": tasks}))


def _values(arguments: Any) -> list[Any]:
    """What was asked: the log has it by number and by name, or as a plain list."""
    if isinstance(arguments, dict):
        return [list(one.values()) for one in arguments.values()]
    return list(arguments)


if __name__ == "__main__":
    main()
