"""Item 2: questions a second, against lm-evaluation-harness 0.4.13, with five examples each.

Both score the same questions with the packaged Gemma 3 270M, in the same precision, on the same
number of threads, in batches of as many tokens: once the letters after a prompt that lists the
options, once the options' texts. `cldr-facts` gives the questions, in languages with and without
spaces, and MMLU, of two whole subjects as far as asked for. A run is a process of its own, ours
and the harness's in turn. Clocks stand inside: the harness's runs in its `loglikelihood` alone,
ours from questions to their scores, prompts included; neither has start-up and loading in it.
Besides wall time both tell the seconds of the processor, which other work on the machine does
not add to.

First, in float32, every prompt must be the harness's to the byte, and every log-likelihood of an
option to 1e-4, with the harness's softmax in float64: its own loses small terms as it adds up
the vocabulary in float32. The difference from its own is noted beside it.
At last, model FLOP utilisation: what scoring took of the rate at which the same process
multiplied large matrices.

    snakemake -c2 results/inputs/models/gemma3-270m/manifest.json \
        results/inputs/benchmarks/cldr-facts.parquet
    make bench ITEMS=scoring
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))

from multical.data import questions  # noqa: E402
from multical.errors import InputError, program  # noqa: E402
from multical.models.chat import LETTERS  # noqa: E402
from multical.scoring.prompting import by_hash  # noqa: E402
from recording import PEERS, note, record, row  # noqa: E402

ITEM, PEER = "scoring", "lm-eval 0.4.13"
KINDS = ("letters", "texts")
LANGUAGES = ["en", "zh", "sw", "ja", "ar"]  # two of them without spaces
AT_LEAST = 40  # questions of a language; the benchmark has 106 with the same examples
#: Together as long as all of MMLU, a question with its examples 660 tokens (mean of all: 690).
SUBJECTS = ["professional_accounting", "professional_psychology"]
SHOTS = 5
PARAMS: dict[str, Any] = {
    "run": "benchmark",
    "model": "benchmark",
    "benchmark": "questions",
    "prompts": [
        {"name": "default", "multiple_choice": "{question}\n{options}", "cloze": "{question}"},
    ],
    "chat_format": "plain",
    "num_fewshot": SHOTS,
}
TOLERANCE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--small", action="store_true", help="24 questions, one round; records nothing"
    )
    parser.add_argument(
        "--questions", type=int, default=120,
        help="of cldr-facts, half as many of MMLU, whose are longer (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--check", type=int, default=8, help="questions compared in float32, or 0")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, default=1, help="as rules/score.smk has it")
    parser.add_argument("--batch-tokens", type=int, default=2048, help="(default: %(default)s)")
    parser.add_argument("--inputs", type=Path, default=Path("results/inputs"), metavar="FOLDER")
    parser.add_argument(
        "--mmlu", type=Path, metavar="ARCHIVE",
        help="the CSV files of https://github.com/hendrycks/test; without it only cldr-facts",
    )  # fmt: skip
    parser.add_argument("--only", choices=["cldr-facts", "mmlu"])
    args = parser.parse_args()
    if args.small:
        args.questions, args.rounds, args.check = 24, 1, min(args.check, 4)
    rows = []
    for name, (asked, fewshot) in benchmarks(args).items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            few = asked.groupby(["language", "subject"], dropna=False)
            checked = few.head(-(-args.check // few.ngroups))
            if args.check:
                rows += compare(folder / "check", name, checked, fewshot, args)
            rows += measure(folder / "timed", name, asked, fewshot, args)
    record(ITEM, rows, trial=args.small or args.only is not None)


def benchmarks(args: argparse.Namespace) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Questions and examples by the name of their benchmark."""
    found = {}
    if args.only != "mmlu":
        found["cldr-facts"] = cldr_facts(args)
    if args.only != "cldr-facts" and args.mmlu:
        found["mmlu"] = mmlu(args)
    elif args.only != "cldr-facts":
        note("MMLU is left out: no --mmlu ARCHIVE")
    return found


def cldr_facts(args: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Per language five examples for all kinds of questions, and some of the others."""
    file = args.inputs / "benchmarks/cldr-facts.parquet"
    if not file.exists():
        raise InputError(f"{file}: not there, expected what `snakemake -c2 {file}` makes")
    frame = questions.read(file)
    languages = LANGUAGES[: max(1, args.questions // AT_LEAST)]
    frame = frame[frame["language"].isin(languages)].assign(subject=None)
    by_language = frame.loc[by_hash(frame["question_id"])].groupby("language")
    count = -(-args.questions // len(languages))
    fewshot = by_language.head(SHOTS)
    return by_language.head(SHOTS + count).drop(fewshot.index), fewshot


def mmlu(args: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first questions of each subject, with the subject's own examples."""
    count = -(-args.questions // (2 * len(SUBJECTS)))
    asked, fewshot = [], []
    with tarfile.open(args.mmlu) as archive:
        for subject in SUBJECTS:
            asked += _rows(archive, subject, "test")[:count]
            fewshot += _rows(archive, subject, "dev")
    return pd.DataFrame(asked), pd.DataFrame(fewshot)


def _rows(archive: tarfile.TarFile, subject: str, split: str) -> list[dict[str, Any]]:
    """Questions with four different options: our schema wants that."""
    content = archive.extractfile(f"data/{split}/{subject}_{split}.csv")
    assert content is not None
    rows = []
    for number, line in enumerate(csv.reader(io.TextIOWrapper(content, "utf-8", newline=""))):
        question, *options, letter = line
        if len({option.strip() for option in options} - {""}) == len(options):
            rows.append(
                {
                    "question_id": f"{subject}.{split}.{number:04d}",
                    "language": "en",
                    "subject": subject,
                    "question": question,
                    "options": options,
                    "answer": LETTERS.index(letter),
                }
            )
    return rows


def compare(
    folder: Path, name: str, asked: pd.DataFrame, fewshot: pd.DataFrame, args: argparse.Namespace
) -> list[dict[str, str]]:
    """The largest differences of an option's log-likelihood in float32.

    From the harness with its softmax in float64, and as it is by itself. Raises `InputError`
    where a prompt is not the harness's, or the first of these is above the tolerance: rounding
    in float32 layers adds up to some 6e-5 over the tokens of a long option, a wrong token,
    position or mask is far above. Our letter logit is of all tokens that stand for a
    letter, so the harness is asked for each.
    """
    rows = []
    for kind in KINDS:
        forms = [" ", ""] if kind == "letters" else [" "]
        place = write(folder / kind, kind, asked, fewshot, forms)
        ours = run_ours(place, kind, "float32", "highest", args)["scores"]
        for softmax in ("float64", "float32"):
            theirs = run_harness(place, "float32", "highest", 1, args, softmax)
            pairs = zip(ours, harness_order(place, theirs), strict=True)
            worst = max(difference(one, sample, forms) for one, sample in pairs)
            setting = f"{name}, {kind}, {len(asked)} questions, float32, their softmax in {softmax}"
            rows.append(row(PEER, f"{setting}: difference, tolerance", worst, TOLERANCE, "nats"))
            note(f"{setting}: largest difference of an option {worst:.2g}")
            if softmax == "float64" and not worst <= TOLERANCE:
                raise InputError(f"{setting}: found {worst} nats, expected {TOLERANCE} at most")
    return rows


def difference(one: dict[str, Any], sample: dict[str, Any], forms: list[str]) -> float:
    """The largest of a question's options, ours against the harness's.

    Raises `InputError` where their texts differ.
    """
    texts = [context + text for context, text in sample["asked"]]
    expected = [one["prompt"] + form + text for text in one["said"] for form in forms]
    if texts != expected:
        raise InputError(f"found the prompts {texts}, expected {expected}")
    if one.get("letter_logits"):
        logliks = [logit - one["logsumexp"] for logit in one["letter_logits"]]
    else:
        logliks = one["text_logliks"]
    by_option = np.array(sample["logliks"]).reshape(len(logliks), len(forms))
    return float(np.abs(logliks - np.logaddexp.reduce(by_option, axis=1)).max())


def measure(
    folder: Path, name: str, asked: pd.DataFrame, fewshot: pd.DataFrame, args: argparse.Namespace
) -> list[dict[str, str]]:
    """Medians of alternating runs."""
    rows = []
    for kind in KINDS:
        place = write(folder / kind, kind, asked, fewshot, [" "])
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(run_ours(place, kind, args.dtype, "medium", args))
            batch = max(1, args.batch_tokens // ours[-1]["longest"])
            theirs.append(run_harness(place, args.dtype, "medium", batch, args))
            note(f"{name}, {kind}: {clocks(ours[-1])} ours, {clocks(theirs[-1])} theirs")
        setting = f"{name}, {kind}, {len(asked)} questions, {SHOTS}-shot, {args.dtype}, "
        setting += f"{args.threads} thread(s), batches of {args.batch_tokens} tokens"
        for clock, unit in (("wall", "questions/s"), ("cpu", "questions/CPU s")):
            rate, other = (len(asked) / _median(runs, clock) for runs in (ours, theirs))
            rows.append(row(PEER, setting, rate, other, unit, more=True))
        reached = statistics.median(run["flop"] / run["cpu"] for run in ours)
        rate = _median(ours, "rate")
        rows.append(row("matrix product", setting, reached / 1e9, rate / 1e9, "GFLOP/s", more=True))
    return rows


def clocks(run: dict[str, Any]) -> str:
    return f"{run['wall']:.1f} s, {run['cpu']:.1f} CPU s"


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def write(
    folder: Path, kind: str, asked: pd.DataFrame, fewshot: pd.DataFrame, forms: list[str]
) -> Path:
    """Questions and examples as we read them, and as tasks of the harness, one per examples."""
    folder.mkdir(parents=True)
    questions.write(folder / "asked.parquet", asked)
    questions.write(folder / "fewshot.parquet", fewshot)
    asked, fewshot = (questions.read(folder / f"{name}.parquet") for name in ("asked", "fewshot"))
    for (language, subject), rows in asked.groupby(["language", "subject"], dropna=False):
        own = fewshot[fewshot["language"] == language]
        if isinstance(subject, str):
            own = own[own["subject"] == subject].sort_values("question_id")
        else:
            own = own.loc[by_hash(own["question_id"])]
        task = f"{language}.{subject}"
        files = {}
        for split, frame in (("test", rows), ("dev", own.head(SHOTS))):
            files[split] = str(folder / f"{task}.{split}.jsonl")
            lines = [json.dumps(_document(one, kind, forms)) for one in frame.itertuples()]
            Path(files[split]).write_text("\n".join(lines) + "\n", encoding="utf-8")
        about = {
            "task": task,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files},
            "test_split": "test",
            "fewshot_split": "dev",
            "fewshot_config": {"sampler": "first_n"},
            "num_fewshot": SHOTS,
            "output_type": "multiple_choice",
            "doc_to_text": "Question: {{shown}}\nAnswer:",
            "doc_to_choice": "{{said}}",
            "doc_to_target": "answer",
            "target_delimiter": "",
            "fewshot_delimiter": "<eos>\n",
            "metric_list": [{"metric": "acc"}],
        }
        (folder / f"{task}.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    return folder


def _document(one: Any, kind: str, forms: list[str]) -> dict[str, Any]:
    """A question for the harness; the first form of an answer is that of the examples."""
    lines = zip(LETTERS, one.options, strict=False)
    listed = "".join(f"\n{letter}. {option}" for letter, option in lines)
    said = list(LETTERS[: len(one.options)]) if kind == "letters" else one.options
    return {
        "id": [one.language, one.question_id],
        "shown": one.question + (listed if kind == "letters" else ""),
        "said": [form + text for text in said for form in forms],
        "answer": one.answer * len(forms),
    }


def harness_order(folder: Path, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The harness's samples in the order of our questions."""
    by_id = {}
    for task, samples in found["tasks"].items():
        lines = (folder / f"{task}.test.jsonl").read_text(encoding="utf-8").splitlines()
        for line, sample in zip(lines, samples, strict=True):
            by_id[tuple(json.loads(line)["id"])] = sample
    asked = questions.read(folder / "asked.parquet")
    return [by_id[key] for key in zip(asked["language"], asked["question_id"], strict=True)]


def run_ours(
    folder: Path, kind: str, dtype: str, precision: str, args: argparse.Namespace
) -> dict[str, Any]:
    params = {**PARAMS, "dtype": dtype, "matmul_precision": precision}
    params["batch_tokens"] = args.batch_tokens
    words = ["--questions", folder, "--params", json.dumps(params), "--kind", kind]
    return run(sys.executable, "scoring_ours.py", words, folder, args)


def run_harness(
    folder: Path,
    dtype: str,
    precision: str,
    batch: int,
    args: argparse.Namespace,
    softmax: str | None = None,
) -> dict[str, Any]:
    words = ["--tasks", folder, "--dtype", dtype, "--matmul-precision", precision]
    words += ["--batch", batch, *(["--softmax-dtype", softmax] if softmax else [])]
    return run(PEERS, "scoring_harness.py", words, folder, args)


def run(
    python: str | Path, program: str, words: list[Any], folder: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """What a program of this folder found; its messages are shown only if it fails."""
    output = folder / "found.json"
    model = args.inputs / "models/gemma3-270m/checkpoint"
    if not model.exists():
        manifest = model.with_name("manifest.json")
        raise InputError(f"{model}: not there, expected what `snakemake -c2 {manifest}` makes")
    command = [python, HERE / program, "--model", model, "--output", output, *words]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(args.threads),
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"{program}: exit code {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    program(main)
