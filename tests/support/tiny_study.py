"""A tiny study that Snakemake makes at once: stubs replace the programs that need a model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from support import checkout, figure_data, forks

SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "--quiet", "all", "--cores", "1"]
LANGUAGES = ["en", "fr"]

#: Programs that write what their rules declare, at once; each with a module that it imports
STUBS = {
    "fetch_model": "models.checkpoints",
    "train_sft": "models.smoothing",
    "score_run": "scoring.tokenized",
    "compute_metrics": "metrics.definitions",
}
STUB = """
import sys
from pathlib import Path

from multical.models.checkpoints import write_manifest


def main():
    import multical.{module}


given = dict(zip(sys.argv[1:], sys.argv[2:]))
for flag in ("--output", "--metrics", "--summary", "--loss-log", "--usage"):
    if flag in given:
        Path(given[flag]).write_text("made\\n")
if "--manifest" in given:
    folder = Path(given["--checkpoint"])
    folder.mkdir()
    header = b'{{"a": {{"dtype": "F32", "shape": [100000, 1000], "data_offsets": [0, 0]}}}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    write_manifest(given["--manifest"], folder, {{}})
"""

#: A program that writes a table for figures, at once
COMPUTE = """
import shutil
import sys

given = dict(zip(sys.argv[1:], sys.argv[2:]))
for flag in ("--metrics", "--summary"):
    shutil.copy("given" + flag[1:] + ".csv", given[flag])
"""


def tiny_study(folder: Path) -> None:
    """Replace the config's studies by one of a local model, questions and conversations."""
    raw = checkout.config(folder)
    study = raw["studies"]["results/smoke"] | {
        "models": ["little"],
        "sft_data": ["own"],
        "smoothing": [0.0, 0.1],
        "benchmarks": ["quiz"],
        "languages": None,
        "questions_per_language": None,
    }
    study["figures"] = study["figures"] | {"benchmark": "quiz", "sft": "own"}
    raw |= {
        "models": {
            "little": {"source": {"kind": "folder", "path": "little"}, "chat_format": "plain"}
        },
        "benchmarks": {"quiz": {"source": {"kind": "file", "path": "quiz.jsonl"}, "options": 2}},
        "sft_data": {"own": {"source": {"kind": "file", "path": "own.jsonl"}}},
        "studies": {"results/tiny": study},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    questions = [
        {
            "question_id": f"q{number}",
            "language": language,
            "question": f"What is {number} and one?",
            "options": [str(number + 1), str(number + 2)],
            "answer": 0,
        }
        for language in LANGUAGES
        for number in range(10)
    ]
    pairs = [
        {
            "id": str(number),
            "messages": [
                {"role": "user", "content": f"What is {number} and one?"},
                {"role": "assistant", "content": str(number + 1)},
            ],
        }
        for number in range(50)
    ]
    for name, rows in (("quiz", questions), ("own", pairs)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "little").mkdir()
    (folder / "little/config.json").write_text("{}", encoding="utf-8")
    for name, module in STUBS.items():
        (folder / f"scripts/{name}.py").write_text(STUB.format(module=module), encoding="utf-8")


def drawn_study(folder: Path) -> None:
    """The tiny study, with stubs whose tables a real figure can be drawn from."""
    tiny_study(folder)
    (folder / "scripts/compute_metrics.py").write_text(COMPUTE, encoding="utf-8")
    for name in ("train_sft", "score_run"):  # whose usage.json is read
        stub = (folder / f"scripts/{name}.py").read_text(encoding="utf-8")
        (folder / f"scripts/{name}.py").write_text(stub.replace('"made\\n"', '"{}"'), "utf-8")
    tables = figure_data.write_tables(folder, models=("little",), sets=("own",))
    for kind in ("metrics", "summary"):
        text = tables[kind].read_text(encoding="utf-8").replace("cldr-facts", "quiz")
        (folder / f"given-{kind}.csv").write_text(text, encoding="utf-8")


def snakemake(folder: Path, *arguments: str) -> None:
    forks.run([*SNAKEMAKE, *arguments], cwd=folder, check=True)


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
