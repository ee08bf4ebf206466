"""Fine-tune a model on conversations with TRL's SFTTrainer and label smoothing.

A run with several processes restarts itself with `accelerate launch`.

A killed run resumes from its last checkpoint and ends with the same weights. The name of the
folder of checkpoints is --scratch followed by a hash of the model, the data and the learning rate.
No other run may use the folder, or make the same manifest: the program holds locks beside
--scratch, and ends at once if another process holds them. It removes the folder at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from transformers.utils import logging

from multical import files, locks
from multical.data import conversations
from multical.errors import InputError, program
from multical.files import atomic
from multical.fixity import Inputs
from multical.models import adapters, adapting, checkpoints, distributed, learning_rate
from multical.models.chat import Chat
from multical.models.examples import Examples
from multical.models.params import TrainingJob
from multical.models.sft import check_tool, train
from multical.params import command_line, validated
from multical.patches.malloc import keep_freed_memory
from multical.patches.primitives import keep_few_primitives
from multical.provenance import surroundings
from multical.provenance.usage import Clock


def main() -> None:
    """Write the checkpoint and the loss log, then the manifest."""
    if not distributed.launched():
        surroundings.clear(os.environ)
    args = arguments()
    check_tool(args.report_to)
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
        locks.check_free(args.scratch, args.manifest)
        distributed.launch(distributed.accelerate_config(**scale.model_dump()), launcher)
    group = distributed.Group()
    logging.disable_progress_bar()
    with ExitStack() as at_the_end:
        if group.main:  # the others end when it ends
            at_the_end.enter_context(locks.held(args.scratch, args.manifest))
            at_the_end.callback(launcher.unlink, missing_ok=True)
        try:
            run(args, job, group)
        except InputError:
            group.leave_to_first()
            raise


def run(args: argparse.Namespace, job: TrainingJob, group: distributed.Group) -> None:
    """Train in each process; only process 0 writes the results."""
    started = time.monotonic()
    given = Inputs([args.model, args.data])
    with group.first():
        base = checkpoints.verified(args.model, contents=group.main)
    pairs = conversations.read(args.data)
    given.check()
    model_digest, data_digest = given.digests.values()
    # so that a run with other weights, data or rate does not resume from this checkpoint
    ingredients = f"{model_digest} {data_digest} {job.learning_rate}"
    digest = hashlib.sha256(ingredients.encode()).hexdigest()
    scratch = args.scratch.with_name(f"{args.scratch.name}-{digest[:12]}")
    if group.main:
        for target in (scratch, args.checkpoint):
            files.remove_leftovers(target)
    clock = Clock(scratch, started)
    adapter, precision = job.adapter, job.scale.precision
    device = "cpu" if job.scale.processes > 1 else None
    if adapter is None:
        model, tokenizer = checkpoints.load(base, device=device)
    else:
        model, tokenizer = adapters.base(base, adapter.quantization, precision, device)
        adapting.add(model, adapter, job.seed)
    chat = Chat(tokenizer, job.chat_format, job.chat_date)
    examples = Examples.of(pairs, chat, job.max_length, args.data)
    if group.main:
        print(
            f"{job.run}: {len(examples.rows)} conversations, {examples.trained_tokens} "
            f"tokens to train ({examples.truncated} truncated, {examples.dropped} dropped)",
            file=sys.stderr,
        )
    keep_freed_memory()
    keep_few_primitives()
    log, weights = train(model, tokenizer, examples, job, scratch, group, clock, args.report_to)
    if not group.main:
        return
    with atomic(args.checkpoint) as folder:
        if adapter is None:
            checkpoints.save(model, tokenizer, folder, state_dict=weights)
        else:
            adapting.save(model, tokenizer, base, folder, adapter, precision)
    with atomic(args.loss_log) as temporary:
        temporary.write_text("".join(json.dumps(step) + "\n" for step in log), encoding="utf-8")
    about = {
        "run": job.run,
        "params": job.model_dump(mode="json"),
        "base_manifest_sha256": model_digest,
        "data_sha256": data_digest,
        "examples": len(examples.rows),
        "truncated": examples.truncated,
        "dropped": examples.dropped,
        "trained_tokens": examples.trained_tokens,
        "steps": len(log),
        "final_loss": log[-1]["loss"],
    }
    clock.write(args.usage, job.scale.processes)
    checkpoints.write_manifest(args.manifest, args.checkpoint, about)
    files.remove(scratch)


def arguments() -> argparse.Namespace:
    parser = command_line(
        __doc__,
        TrainingJob,
        model="manifest of the base model",
        data="conversations, .jsonl",
        manifest="output: manifest of the run, .json",
        checkpoint="output: folder of the run",
        loss_log="output: a line per step, .jsonl",
        usage="output: seconds and hardware, .json",
        scratch="folder to resume from",
    )
    parser.add_argument(
        "--learning-rate", nargs="?", type=Path, help="output of choose_learning_rate.py"
    )
    parser.add_argument("--report-to", default="none", help="tool that shows the losses")
    return parser.parse_args()


if __name__ == "__main__":
    program(main)
