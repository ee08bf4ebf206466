"""Parameters of tiny trainings and scorings, and the command line of a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import train_sft

SCRIPT = Path(train_sft.__file__)
TRAINING: dict[str, Any] = {
    "run": "tiny.facts.ls0.1.s0",
    "smoothing": 0.1,
    "seed": 0,
    "chat_format": "plain",
    "learning_rate": 1e-2,
    "warmup_ratio": 0.25,
    "weight_decay": 0.0,
    "batch_size": 4,
    "gradient_accumulation_steps": 2,
    "epochs": None,
    "steps": 8,
    "max_length": 64,
    "save_every": 3,
    "matmul_precision": "highest",
}
PROMPT = {"name": "default", "multiple_choice": "{question}\n{options}", "cloze": "{question}"}
SCORING: dict[str, Any] = {
    "run": "tiny.facts.ls0.1.s0",
    "model": "tiny",
    "sft": "facts",
    "smoothing": 0.1,
    "seed": 0,
    "benchmark": "quiz",
    "languages": None,
    "questions_per_language": None,
    "prompts": [PROMPT],
    "multiple_choice_languages": ["en", "ko"],
    "chat_format": "plain",
    "dtype": "float32",
    "matmul_precision": "highest",
    "batch_tokens": 300,
}


def command(base: Path, out: str = "out", **changes: Any) -> list[str]:
    folder = base / out
    files = {
        "--model": base / "base" / "manifest.json",
        "--data": base / "data.jsonl",
        "--params": json.dumps({**TRAINING, **changes}),
        "--manifest": folder / "manifest.json",
        "--checkpoint": folder / "checkpoint",
        "--loss-log": folder / "loss.jsonl",
        "--usage": folder / "usage.json",
        "--scratch": base / f"{out}.scratch",
    }
    return [str(SCRIPT), *(str(part) for pair in files.items() for part in pair)]


def read_log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
