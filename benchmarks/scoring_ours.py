"""multical's scoring on the questions of a folder: our side of benchmarks/scoring.py.

Writes as JSON, like scoring_harness.py, the seconds from questions to scores (prompts, tokenising
and what a killed job would go on from included; loading, and what a new clone compiles, left out),
and each question's scores; besides, the floating-point operations that these took, and the
machine's own rate of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import score_run
from multical.data import questions
from multical.models import checkpoints, cpu_kernels
from multical.models.chat import LETTERS, Chat, letter_ids
from multical.params import parse
from multical.scoring.encoding import Encoder
from multical.scoring.params import ScoringJob
from multical.scoring.prompting import FewShot, Kind, parts
from multical.scoring.resume import SavedScores
from multical.scoring.scorer import Group, Scorer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, metavar="FOLDER")
    parser.add_argument("--questions", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--params", required=True, metavar="JSON", help="a ScoringJob")
    parser.add_argument("--kind", required=True, choices=["letters", "texts"])
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    job = parse(ScoringJob, args.params)
    torch.set_float32_matmul_precision(job.matmul_precision)
    model, tokenizer = checkpoints.load(args.model, job.dtype)
    file, fewshot = args.questions / "asked.parquet", args.questions / "fewshot.parquet"
    asked = questions.read(file)
    examples = FewShot(questions.read(fewshot), job.num_fewshot, str(fewshot))
    encoder = Encoder(Chat(tokenizer, job.chat_format))
    letters = letter_ids(tokenizer, LETTERS[: max(map(len, asked.options))])
    scorer = Scorer(model, letters, job.batch_tokens)
    cut = [p for p in parts(asked, job, examples) if p.multiple_choice == (args.kind == "letters")]
    with cpu_kernels.used_by(model):
        first = next(cut[0].rows.itertuples())
        scorer.score(scorer.group([encoder.encode(cut[0], first)]))  # compiles functions

    wall, cpu = time.perf_counter(), time.process_time()
    found: list[dict[str, Any]] = [{} for _ in range(len(asked))]
    bar = tqdm(total=len(asked), unit="question")
    with TemporaryDirectory() as scratch, bar, cpu_kernels.used_by(model):
        saved = SavedScores(Path(scratch), 60, time.monotonic())
        for number, part in enumerate(cut):
            for index, values in score_run.score(part, number, encoder, scorer, saved, bar):
                found[index] = values
    result = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    for part in cut:
        shown: list[Any] = list(part.rows.itertuples())
        for one in shown:
            kind: Kind = "multiple_choice" if part.multiple_choice else "cloze"
            said = LETTERS[: len(one.options)] if part.multiple_choice else one.options
            found[one.Index] |= {"prompt": encoder.text(part, one, kind), "said": list(said)}
    groups = [
        scorer.group([encoder.encode(part, r) for r in part.rows.itertuples()]) for part in cut
    ]
    asked_tokens = [encoder.encode(part, r) for part in cut for r in part.rows.itertuples()]
    result["longest"] = max(question.length for question in asked_tokens)
    result["flop"] = sum(flop(group, model) for group in groups)
    result["rate"] = matrix_rate(model.dtype)
    args.output.write_text(json.dumps({**result, "scores": found}))


def flop(group: Group, model: Any) -> int:
    """Floating-point operations of scoring a group once, padding left out.

    Two for each weight of a linear layer and token, or position where the head is run; four
    for each token, key that it attends to (a sliding window not deducted) and channel.
    """
    config = model.config.get_text_config()
    layers = [m for m in model.base_model.modules() if isinstance(m, torch.nn.Linear)]
    weights = sum(layer.in_features * layer.out_features for layer in layers)  # also of 4 bits
    channels = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    shared = len(group.prefix)
    tokens, keys, read = shared, shared * (shared + 1) // 2, 0
    for row in group.rows:
        tokens += len(row)
        keys += sum(depth + 1 for depth in row.trie.depths)
        for answer, targets in row.questions.values():
            nodes = {node for node, _ in chain.from_iterable(targets)} | {answer}
            read += len(nodes - {None})
    head = read * model.get_output_embeddings().weight.numel()
    return 2 * (tokens * weights + head) + 4 * keys * channels


def matrix_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Floating-point operations a second of the processor, of products of large matrices."""
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(8):
        started = time.process_time()
        torch.mm(left, right)
        seconds.append(time.process_time() - started)
    return 2 * size**3 / statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
