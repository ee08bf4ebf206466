"""Fine-tune a model on conversations with TRL's SFTTrainer and label smoothing.

Runs of several processes start themselves again with `accelerate launch`.

A run that was killed goes on from its last checkpoint in --scratch and ends with the
same weights. The folder's name is --scratch and a hash of the model and the data; it must
belong to this run alone, and is removed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from pathlib import Path

from transformers.utils import logging

from multical.data import conversations
from multical.errors import InputError, program
from multical.files import atomic, sha256
from multical.models import checkpoints, distributed, learning_rate
from multical.models.chat import Chat
from multical.models.examples import Examples
from multical.models.params import TrainingJob
from multical.models.sft import train
from multical.params import command_line, validated
from multical.provenance.usage import Clock


def main() -> None:
    """Write the checkpoint and the loss log, then the manifest."""
    args = arguments()
    job: TrainingJob = args.params
    if job.learning_rate is None:
        if args.learning_rate is None:
            raise InputError(
                "--params: learning_rate: found none, expected one, or --learning-rate"
            )
        _, rate = learning_rate.read(args.learning_rate)
        job = validated(
            TrainingJob, job.model_dump() | {"learning_rate": rate}, str(args.learning_rate)
        )
    scale = job.scale
    launcher = args.scratch.with_name(f"{args.scratch.name}.yaml")
    if scale.processes > 1 and not distributed.launched():
        distributed.launch(distributed.accelerate_config(**scale.model_dump()), launcher)
    group = distributed.Group()
    logging.disable_progress_bar()
    try:
        run(args, job, group)
    except InputError:
        group.leave_to_first()
        raise
    finally:
        if group.main:
            launcher.unlink(missing_ok=True)


def run(args: argparse.Namespace, job: TrainingJob, group: distributed.Group) -> None:
    """Train, in each process; process 0 writes."""
    started = time.monotonic()
    with group.first():
        base = checkpoints.verified(args.model, contents=group.main)
    pairs = conversations.read(args.data)
    # a run on other weights or data must not go on from this one's checkpoint
    made_of = hashlib.sha256(f"{sha256(args.model)} {sha256(args.data)}".encode()).hexdigest()
    scratch = args.scratch.with_name(f"{args.scratch.name}-{made_of[:12]}")
    clock = Clock(scratch, started)
    model, tokenizer = checkpoints.load(base, device="cpu" if job.scale.processes > 1 else None)
    chat = Chat(tokenizer, job.chat_format)
    try:
        examples = Examples.of(pairs, chat, job.max_length)
    except InputError as error:
        raise InputError(f"{args.data}: {error}") from error
    if group.main:
        print(
            f"{job.run}: {len(examples.rows)} conversations, {examples.trained_tokens} "
            f"tokens to train ({examples.truncated} truncated, {examples.dropped} dropped)",
            file=sys.stderr,
        )
    log, weights = train(model, tokenizer, examples, job, scratch, group, clock)
    if not group.main:
        return
    with atomic(args.checkpoint) as folder:
        model.save_pretrained(folder, state_dict=weights)
        tokenizer.save_pretrained(folder)
    with atomic(args.loss_log) as temporary:
        temporary.write_text("".join(json.dumps(step) + "\n" for step in log), encoding="utf-8")
    about = {
        "run": job.run,
        "params": job.model_dump(mode="json"),
        "base_manifest_sha256": sha256(args.model),
        "data_sha256": sha256(args.data),
        "examples": len(examples.rows),
        "truncated": examples.truncated,
        "dropped": examples.dropped,
        "trained_tokens": examples.trained_tokens,
        "steps": len(log),
        "final_loss": log[-1]["loss"],
    }
    clock.write(args.usage, job.scale.processes)
    checkpoints.write_manifest(args.manifest, args.checkpoint, about)
    shutil.rmtree(scratch, ignore_errors=True)


def arguments() -> argparse.Namespace:
    parser = command_line(
        __doc__,
        TrainingJob,
        model="manifest of the base model",
        data="conversations, .jsonl",
        manifest="of the result, .json",
        checkpoint="folder of the result",
        loss_log="a line per step, .jsonl",
        usage="seconds and hardware, .json",
        scratch="folder to resume from",
    )
    parser.add_argument("--learning-rate", nargs="?", type=Path, help="of choose_learning_rate")
    return parser.parse_args()


if __name__ == "__main__":
    program(main)
