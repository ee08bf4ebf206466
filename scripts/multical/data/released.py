"""Import of paper 2's released outputs: files of graded answers with their confidence.

A file has the answers of one model to a range of questions of one data set, with one prompt and one
measure of confidence:

    {dataset}_{model}-q{from}to{to}_no_abst_{norm|raw}_logits_{prompt}.txt

It has a header `grade confidence_level`, then one line `Correct|Wrong|Unparseable value` per
question, in the order of the questions. norm is the maximum softmax probability, raw the maximum
logit. An unparseable answer counts as wrong with its recorded confidence. We read the files into
memory from a folder, an archive or a download, and never unpack them to disk.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc

from multical.data.release_params import Cell, text_files
from multical.errors import InputError
from multical.records import SCHEMA

NAME = re.compile(
    r"(?P<dataset>[^_]+)_(?P<model>.+)-q(?P<start>\d+)to(?P<stop>\d+)"
    r"_no_abst_(?P<value>norm|raw)_logits_(?P<prompt>\w+)\.txt"
)
HEADER = b"grade confidence_level\n"
GRADES = ("Correct", "Wrong", "Unparseable")
#: Largest number of problems that an error message lists before it counts the rest
LISTED = 3
#: Exceptions of damaged archives of all compressions
DAMAGED = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, OSError)


@dataclass(frozen=True)
class Slice:
    """One file: questions `start` to `stop` of a cell (dataset, model, prompt, norm or raw)."""

    name: str
    cell: tuple[str, str, str, str]
    start: int
    stop: int
    grade: np.ndarray = field(repr=False)  # (stop - start,) index into GRADES
    confidence: np.ndarray = field(repr=False)  # (stop - start,) float64


def files(source: str | Path, folder: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each text file of `folder` in `source`.

    `source` is the folder itself or its parent, a tar archive of any compression, or the http(s)
    URL of an archive. Raises `InputError` if the source is missing or damaged, and for a member
    that is a link or has a path outside the archive.
    """
    source = str(source)
    if not source.startswith(("http://", "https://")) and Path(source).is_dir():
        for path in map(Path, text_files(Path(source), folder)):
            yield path.name, path.read_bytes()
        return
    last = "its start"
    try:
        with (
            _opened(source) as stream,
            tarfile.open(fileobj=stream, mode="r|*") as archive,
        ):
            for member in archive:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise InputError(f"{source}: member {member.name!r} leaves the archive")
                if name.suffix != ".txt" or name.parent.name not in (folder, "", "."):
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    raise InputError(f"{source}: member {member.name!r} is no regular file")
                yield name.name, content.read()
                last = member.name
    except urllib.error.URLError as error:
        raise InputError(f"{source}: no download ({error.reason})") from error
    except DAMAGED as error:
        raise InputError(
            f"{source}: not a whole tar archive; damaged after {last} ({error})"
        ) from error


@contextmanager
def _opened(source: str) -> Iterator[IO[bytes]]:
    if source.startswith(("http://", "https://")):
        with urllib.request.urlopen(source, timeout=60) as response:
            yield response
        return
    if not Path(source).exists():
        raise InputError(f"{source}: no such file or folder, expected the released outputs")
    with open(source, "rb") as stream:
        yield stream


def records(
    contents: Iterator[tuple[str, bytes]],
    *,
    models: dict[str, bool],
    datasets: dict[str, int],
    prompts: list[str],
    missing: Mapping[Cell, list[tuple[int, int]]] | None = None,
    manifest: dict[str, str] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Records of all files, and a summary of their content.

    `models` maps the name of a model in file names to whether there are maximum logits. `datasets`
    maps a data set to its number of questions. `missing` has the first question, and that after the
    last, of each part that was not released. `manifest` maps file names to SHA-256. Raises one
    `InputError` with all missing, truncated, duplicated, garbled or unexpected files, so that no
    data set is ever incomplete unless `missing` says so.

    `model` and `run` are the name of the model in file names, `benchmark` is the data set, and
    `question_id` is the number of the question, from 0, in five digits. If the norm and the raw
    file grade a question differently, they come from two generations. The answer of the raw file
    then has a separate row, `{question_id}.raw`.
    """
    problems: list[str] = []
    slices: dict[str, Slice] = {}
    for name, content in contents:
        try:
            if name in slices:
                raise InputError(f"{name}: twice in the source, expected once")
            answers = parse(name, content)
            _check_cell(answers, models, datasets, prompts)
            if manifest is not None and manifest.get(name) != hashlib.sha256(content).hexdigest():
                raise InputError(f"{name}: content differs from the published file (SHA-256)")
            slices[name] = answers
        except InputError as error:
            problems.append(str(error))
    cells: dict[tuple[str, str, str, str], list[Slice]] = {
        (dataset, model, prompt, value): []
        for dataset in datasets
        for model, max_logit in models.items()
        for prompt in prompts
        for value in (("norm", "raw") if max_logit else ("norm",))
    }
    for answers in slices.values():
        cells[answers.cell].append(answers)
    for cell, parts in cells.items():
        known = [problem for problem in problems if _stem(cell) in problem]
        left_out = (missing or {}).get(cell[:3], [])
        problems += _gaps(cell, parts, left_out, datasets[cell[0]], known)
    if problems:
        rest = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise InputError("; ".join(problems[:LISTED]) + rest)
    return _frame(cells, list(models), list(datasets), prompts)


def parse(name: str, content: bytes) -> Slice:
    """The answers of one file. Raises `InputError` if its name or content has another format."""
    match = NAME.fullmatch(name)
    if match is None:
        raise InputError(f"{name}: unexpected file name, expected {{dataset}}_{{model}}-q...txt")
    start, stop = int(match["start"]), int(match["stop"])
    if not content.startswith(HEADER):
        found = content[:40].partition(b"\n")[0]
        raise InputError(f"{name}: line 1: {found!r}, expected {HEADER.strip().decode()!r}")
    rows = content.count(b"\n") - 1
    if rows != stop - start or not content.endswith(b"\n"):
        cut = "" if content.endswith(b"\n") else " and the last one is cut off"
        raise InputError(f"{name}: {rows} whole lines of answers{cut}, expected {stop - start}")
    try:
        table = pc.read_csv(
            pa.BufferReader(content),
            read_options=pc.ReadOptions(use_threads=False),
            parse_options=pc.ParseOptions(
                delimiter=" ", quote_char=False, ignore_empty_lines=False
            ),
            convert_options=pc.ConvertOptions(
                column_types={"grade": pa.string(), "confidence_level": pa.float64()},
                null_values=[],
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"{name}: expected lines of a grade and a number ({error})") from error
    grade = pd.Index(GRADES).get_indexer(table["grade"].to_pandas())
    confidence = table["confidence_level"].to_numpy()
    bad = ~np.isfinite(confidence)
    if match["value"] == "norm":
        bad |= (confidence < 0) | (confidence > 1)
    for wrong, column, expected in (
        (grade < 0, "grade", " or ".join(GRADES)),
        (
            bad,
            "confidence_level",
            "a probability" if match["value"] == "norm" else "a number",
        ),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{name}: line {row + 2}: {table[column][row].as_py()!r}, expected {expected}"
            )
    cell = (match["dataset"], match["model"], match["prompt"], match["value"])
    return Slice(name, cell, start, stop, grade, confidence)


def read_manifest(path: str | Path) -> dict[str, str]:
    """The SHA-256 of each file name, from a file in the format of `sha256sum`."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: no readable manifest ({error})") from error
    pairs = [line.split(maxsplit=1) for line in lines]
    for number, pair in enumerate(pairs, 1):
        if len(pair) != 2 or not re.fullmatch("[0-9a-f]{64}", pair[0]):
            raise InputError(f"{path}: line {number}: expected a SHA-256 and a file name")
    return {name: digest for digest, name in pairs}


def _check_cell(
    answers: Slice, models: dict[str, bool], datasets: dict[str, int], prompts: list[str]
) -> None:
    dataset, model, prompt, value = answers.cell
    for what, name, known in (
        ("data set", dataset, datasets),
        ("model", model, models),
        ("phrasing", prompt, prompts),
    ):
        if name not in known:
            raise InputError(
                f"{answers.name}: unknown {what} {name!r}, expected one of {list(known)}"
            )
    if value == "raw" and not models[model]:
        raise InputError(f"{answers.name}: unexpected, {model} has no maximum logits in the config")


def _stem(cell: tuple[str, str, str, str], span: str = "q") -> str:
    dataset, model, prompt, value = cell
    tail = f"_no_abst_{value}_logits_{prompt}.txt" if span != "q" else ""
    return f"{dataset}_{model}-{span}{tail}"


def _gaps(
    cell: tuple[str, str, str, str],
    parts: list[Slice],
    missing: list[tuple[int, int]],
    count: int,
    known: list[str],
) -> list[str]:
    """Sentences on questions in no file, in two files, beyond the last, or declared `missing`."""
    spans = [(part.start, part.stop, part.name) for part in parts]
    surplus = [
        f"{name}: found, but the config says that it is missing"
        for start, stop, name in spans
        if any(start < end and stop > begin for begin, end in missing)
    ]
    problems, at = list(surplus), 0
    for start, stop, name in sorted([*spans, *((*span, "") for span in missing)]):
        if start < at and name and not surplus:
            problems.append(f"{name}: questions {start} to {min(at, stop)} twice")
        elif start > at:
            problems += _missing(cell, at, start, known)
        at = max(at, stop)
    if at > count:
        problems.append(f"{_stem(cell, f'q...to{at}')}: {at} questions, expected {count}")
    return problems + (_missing(cell, at, count, known) if at < count else [])


def _missing(cell: tuple[str, str, str, str], start: int, stop: int, known: list[str]) -> list[str]:
    """A sentence on a missing file, unless the problems `known` already refer to the file."""
    name = _stem(cell, f"q{start}to{stop}")
    tail = _stem(cell, "x").partition("-x")[2]
    spans = [NAME.match(line.partition(": ")[0]) for line in known if tail in line]
    refused = any(m and int(m["start"]) < stop and int(m["stop"]) > start for m in spans)
    return [] if refused else [f"{name}: missing, in one file or in several"]


def _frame(
    cells: dict[tuple[str, str, str, str], list[Slice]],
    models: list[str],
    datasets: list[str],
    prompts: list[str],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    frames = []
    unparseable, two_answers = dict.fromkeys(models, 0), dict.fromkeys(models, 0)
    for (dataset, model, prompt, value), parts in cells.items():
        if value == "raw" or not parts:
            continue
        number, grade, msp = _joined(parts)
        frame = pd.DataFrame({"correct": grade == 0, "msp": msp, "max_logit": np.nan})
        frame["question_id"] = np.char.mod("%05d", number)
        raw = cells.get((dataset, model, prompt, "raw"))
        unparseable[model] += int((grade == 2).sum())
        if raw is not None:
            _, raw_grade, logit = _joined(raw)
            same = (raw_grade == 0) == (grade == 0)
            frame["max_logit"] = np.where(same, logit, np.nan)
            other = frame[~same].assign(
                correct=(raw_grade == 0)[~same], msp=np.nan, max_logit=logit[~same]
            )
            other["question_id"] += ".raw"
            frame = pd.concat([frame, other], ignore_index=True)
            two_answers[model] += len(other)
        frame["model"] = _constant(model, models, len(frame))
        frame["benchmark"] = _constant(dataset, datasets, len(frame))
        frame["prompt"] = _constant(prompt, prompts, len(frame))
        frames.append(frame)
    all_rows = pd.concat(frames, ignore_index=True)
    all_rows["run"] = all_rows["model"]
    all_rows["language"] = _constant("en", ["en"], len(all_rows))
    # None in missing columns, since Arrow would read NaN as numbers of any column
    all_rows = all_rows.assign(**{name: None for name in SCHEMA.names if name not in all_rows})
    summary = {
        "files": sum(len(parts) for parts in cells.values()),
        "answers": sum(part.stop - part.start for parts in cells.values() for part in parts),
        "unparseable": unparseable,
        "graded_differently_in_norm_and_raw": two_answers,
    }
    return all_rows, summary


def _constant(value: str, known: list[str], count: int) -> Any:
    return pd.Categorical([value], categories=known).repeat(count)


def _joined(parts: list[Slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of the question, grade and confidence of each answer."""
    parts = sorted(parts, key=lambda part: part.start)
    return (
        np.concatenate([np.arange(part.start, part.stop) for part in parts]),
        np.concatenate([part.grade for part in parts]),
        np.concatenate([part.confidence for part in parts]),
    )
