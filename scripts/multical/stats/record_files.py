"""Reading a study's records one part at a time, so that memory holds one part, not all.

A part is the files of one run on one benchmark, usually a single file. The questions that a
bootstrap draws from and the languages span all parts, so they are collected beforehand.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pydantic import BaseModel
from tqdm import tqdm

from multical import records
from multical.errors import InputError
from multical.files import atomic
from multical.params import Listed, command_line
from multical.records import Contents
from multical.stats.blocks import blocks

#: Starting processes does not pay for fewer rows.
MANY_ROWS = 1_000_000


def write_tables(
    description: str | None,
    schema: type[BaseModel],
    outputs: Mapping[str, str],
    compute: Callable[..., Sequence[pd.DataFrame]],
) -> None:
    """Run a program that computes tables from records, and write all tables or none.

    `outputs` describes each table, by the name of its option. `compute` takes the paths of the
    records, the parameters, of the type `schema`, and the number of processes.
    """
    files = {name: f"output, CSV: {content}" for name, content in outputs.items()}
    parser = command_line(description, schema, **files)
    parser.add_argument(
        "--records", nargs="+", action=Listed, required=True, metavar="PARQUET",
        help="input; - for a list on the standard input",
    )  # fmt: skip
    parser.add_argument(
        "--processes",
        type=int,
        default=2,
        help="processes that share the work if there are a million rows or more (%(default)s)",
    )
    args = parser.parse_args()
    tables = compute(args.records, args.params, args.processes)
    with ExitStack() as stack:
        for name, table in zip(outputs, tables, strict=True):
            write(stack.enter_context(atomic(getattr(args, name))), table)


def write(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table with every digit of its floats. The seed of a base model is an empty cell."""
    nullable = {"seed": "Int64"} if "seed" in table else {}
    table.astype(nullable).to_csv(path, index=False, lineterminator="\n")


def tables(
    parts: list[Part],
    block_rows: Callable[..., Sequence[list[dict[str, Any]]]],
    *arguments: Any,
    columns: Sequence[list[str]],
    **options: Any,
) -> list[pd.DataFrame]:
    """A table for each entry of `columns`.

    For each block, `block_rows` returns a list of rows for each table. `arguments` and `options`
    are those of `each`.
    """
    by_block = each(parts, block_rows, *arguments, **options)
    return [
        pd.DataFrame([row for rows in lists for row in rows], columns=names)
        for lists, names in zip(zip(*by_block, strict=True), columns, strict=True)
    ]


@dataclass(frozen=True)
class Part:
    """Files that share a run on a benchmark with each other, and with no other file."""

    paths: list[str]
    contents: list[Contents]


def survey(
    paths: Iterable[str], cultures: Sequence[str] | None = None
) -> tuple[list[Part], dict[str, list[str]]]:
    """The parts of record files, and the questions of each benchmark.

    With `cultures`, only rows with one of these labels count.
    """
    parts: list[Part] = []
    questions: dict[str, set[str]] = {}
    for path in paths:
        contents = records.contents(path, cultures)
        for benchmark, ids in contents.questions.items():
            questions.setdefault(benchmark, set()).update(ids)
        merged = Part([path], [contents])
        for part in [part for part in parts if _share(part, contents)]:
            parts.remove(part)
            merged = Part(part.paths + merged.paths, part.contents + merged.contents)
        parts.append(merged)
    return parts, {benchmark: sorted(ids) for benchmark, ids in questions.items()}


def _share(part: Part, contents: Contents) -> bool:
    return any(not other.pairs.isdisjoint(contents.pairs) for other in part.contents)


def each(
    parts: list[Part],
    function: Callable[..., Any],
    *arguments: Any,
    processes: int,
    select: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    many: int | None = None,
) -> list[Any]:
    """`function(block, *arguments)` of every block, sorted by run and benchmark.

    `select` filters the records of a part first. If the parts have `many` rows or more in all,
    `processes` processes share them. The results do not depend on the number of processes.
    """
    if processes < 1:
        raise InputError(f"--processes: {processes}, expected at least 1")
    rows = sum(contents.rows for part in parts for contents in part.contents)
    tasks = [(part.paths, function, arguments, select) for part in parts]
    processes = min(processes, len(parts))
    if processes < 2 or rows < (MANY_ROWS if many is None else many):
        results: Iterator[Any] = map(_of_part, tasks)
    else:
        results = _in_processes(tasks, processes)
    by_part = list(tqdm(results, total=len(parts), unit="part", desc="records"))
    pairs = sorted((pair for pairs in by_part for pair in pairs), key=lambda pair: pair[0])
    return [result for _, result in pairs]


def _in_processes(tasks: list[Any], processes: int) -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _initialise, (os.getpid(),)) as pool:
        try:
            yield from pool.map(_of_part, tasks)
        except BrokenProcessPool as error:
            raise InputError(
                "records: a process that computed metrics was killed, most likely for lack of "
                "memory; --processes 1 needs less"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _initialise(parent: int) -> None:
    """Make a new process read with one thread, and end when its parent ends."""
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # A parent that is killed cannot end its children, and they would keep their memory.
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _of_part(task: Any) -> list[tuple[tuple[str, str], Any]]:
    """The results of the blocks of a part, each with its run and benchmark."""
    paths, function, arguments, select = task
    frame = records.read(paths, compact=True)
    if select is not None:
        frame = select(frame)
    return [
        ((block.keys["run"], block.keys["benchmark"]), function(block, *arguments))
        for block in blocks(frame)
    ]
