"""Measure the loss of an SFT run on held-out conversations, by which learning rates are chosen.

The parameters are multical.models.evaluation_params.EvaluationJob.
The loss is the mean negative log-likelihood, in nats a token, of the answers' tokens up to
the end of sequence, without smoothing; conversations are cut to max_length as in training,
and run one by one, so that nothing is padded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from multical.data import conversations
from multical.errors import InputError, program
from multical.files import write_json
from multical.models import checkpoints
from multical.models.chat import IGNORED, Chat
from multical.models.evaluation_params import EvaluationJob
from multical.models.examples import Examples
from multical.params import parse


def main() -> None:
    """Write the loss, and how many tokens and conversations it is of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, type=Path, help="manifest of the run")
    parser.add_argument("--data", required=True, type=Path, help="conversations, .jsonl")
    parser.add_argument("--params", required=True, metavar="JSON", help="an EvaluationJob")
    parser.add_argument("--output", required=True, type=Path, help="the loss, .json")
    args = parser.parse_args()
    job = parse(EvaluationJob, args.params)
    torch.set_float32_matmul_precision(job.matmul_precision)
    pairs = conversations.read(args.data)
    model, tokenizer = checkpoints.load(checkpoints.verified(args.model), job.dtype)
    try:
        examples = Examples.of(pairs, Chat(tokenizer, job.chat_format), job.max_length)
    except InputError as error:
        raise InputError(f"{args.data}: {error}") from error
    print(f"{job.run}: {len(examples.rows)} conversations, {model.dtype}", file=sys.stderr)
    tokens = examples.trained_tokens
    loss = summed_loss(model, examples) / tokens
    if not loss < float("inf"):
        raise InputError(f"{args.model}: held-out loss is {loss}, expected a finite one")
    write_json(
        args.output,
        {
            "run": job.run,
            "loss": loss,
            "tokens": tokens,
            "conversations": len(examples.rows),
        },
    )


@torch.inference_mode()
def summed_loss(model: PreTrainedModel, examples: Examples) -> float:
    """The negative log-likelihood of all labels, in nats, log-probabilities in float32."""
    total = 0.0
    for row in tqdm(examples.rows, unit="conversation", mininterval=5):
        ids = torch.tensor(row["input_ids"][None], dtype=torch.long, device=model.device)
        following = torch.tensor(row["labels"][1:], dtype=torch.long, device=model.device)
        trained = following != IGNORED
        logits = model(input_ids=ids).logits[0, :-1][trained].float()
        total += float(nn.functional.cross_entropy(logits, following[trained], reduction="sum"))
    return total


if __name__ == "__main__":
    program(main)
