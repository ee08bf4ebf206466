"""Measure the loss of an SFT run on held-out conversations, to choose a learning rate.

The loss is the mean negative log-likelihood, in nats per token, of the tokens of the answers,
including the end of sequence, without smoothing. Conversations are cut to max_length as in
training. They run one by one, so that there is no padding.
"""

from __future__ import annotations

import sys

import torch
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from multical.data import conversations
from multical.errors import InputError, program
from multical.files import write_json
from multical.models import adapters, checkpoints, logits
from multical.models.chat import IGNORED, Chat
from multical.models.evaluation_params import EvaluationJob
from multical.models.examples import Examples
from multical.params import command_line


def main() -> None:
    """Write the loss, and the numbers of tokens and conversations."""
    parser = command_line(
        __doc__,
        EvaluationJob,
        model="manifest of the run",
        data="conversations, .jsonl",
        output="output: the loss, .json",
    )
    args = parser.parse_args()
    job: EvaluationJob = args.params
    torch.set_float32_matmul_precision(job.matmul_precision)
    pairs = conversations.read(args.data)
    model, tokenizer = adapters.load(checkpoints.verified(args.model), job.dtype)
    chat = Chat(tokenizer, job.chat_format, job.chat_date)
    examples = Examples.of(pairs, chat, job.max_length, args.data)
    print(f"{job.run}: {len(examples.rows)} conversations, {model.dtype}", file=sys.stderr)
    tokens = examples.trained_tokens
    loss = summed_loss(model, examples) / tokens
    if not loss < float("inf"):
        raise InputError(f"{args.model}: held-out loss is {loss}, expected a finite one")
    counts = {"tokens": tokens, "conversations": len(examples.rows)}
    write_json(args.output, {"run": job.run, "loss": loss, **counts})


@torch.inference_mode()
def summed_loss(model: PreTrainedModel, examples: Examples) -> float:
    """The negative log-likelihood of all labels in nats, from float32 log-probabilities."""
    largest = (int(row["input_ids"].max()) for row in examples.rows)
    logits.check_tokens("conversations", largest, logits.known_tokens(model))
    total = 0.0
    for row in tqdm(examples.rows, unit="conversation", mininterval=5):
        ids = torch.tensor(row["input_ids"][None], dtype=torch.long, device=model.device)
        following = torch.tensor(row["labels"][1:], dtype=torch.long, device=model.device)
        trained = following != IGNORED
        scores = model(input_ids=ids).logits[0, :-1][trained].float()
        total += float(nn.functional.cross_entropy(scores, following[trained], reduction="sum"))
    return total


if __name__ == "__main__":
    program(main)
