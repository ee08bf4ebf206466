"""Reading a study's records one part at a time, so that memory holds the largest file, not all.

A part is the files of one run on one benchmark, usually a single file. What spans all parts
(the questions that a bootstrap draws from, and the languages) is looked up beforehand.
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
from multical.params import command_line
from multical.records import Contents
from multical.stats.blocks import Block, blocks, check_languages

#: Fewer rows than these are not worth starting processes for.
MANY_ROWS = 1_000_000


def write_tables(
    description: str | None,
    schema: type[BaseModel],
    outputs: Mapping[str, str],
    compute: Callable[..., Sequence[pd.DataFrame]],
) -> None:
    """Run a program that computes tables from records, and write all of them or none.

    `outputs` has what each table is, by the name of its option; `compute` takes the paths of the
    records, the parameters of the `schema`, and the number of processes.
    """
    files = {name: f"output, CSV: {content}" for name, content in outputs.items()}
    parser = command_line(description, schema, **files)
    parser.add_argument("--records", nargs="+", required=True, metavar="PARQUET")
    parser.add_argument(
        "--processes", type=int, default=2, help="that share a million rows or more (%(default)s)"
    )
    args = parser.parse_args()
    tables = compute(args.records, args.params, args.processes)
    with ExitStack() as written:
        for name, table in zip(outputs, tables, strict=True):
            write(written.enter_context(atomic(getattr(args, name))), table)


def write(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table with every digit of its floats; a base model's seed is an empty cell."""
    whole = {"seed": "Int64"} if "seed" in table else {}
    table.astype(whole).to_csv(path, index=False, lineterminator="\n")


def tables(
    parts: list[Part],
    block_rows: Callable[..., Sequence[list[dict[str, Any]]]],
    *arguments: Any,
    columns: Sequence[list[str]],
    **options: Any,
) -> list[pd.DataFrame]:
    """A table for each of `columns`, from the lists of rows that `block_rows` gives of a block.

    `arguments` and `options` are those of `each`.
    """
    made = each(parts, block_rows, *arguments, **options)
    return [
        pd.DataFrame([row for rows in lists for row in rows], columns=names)
        for lists, names in zip(zip(*made, strict=True), columns, strict=True)
    ]


@dataclass(frozen=True)
class Part:
    """Files that share a run on a benchmark with each other, and with no other file."""

    paths: list[str]
    found: list[Contents]


def survey(
    paths: Iterable[str], levels: Mapping[str, str], cultures: Sequence[str] | None = None
) -> tuple[list[Part], dict[str, list[str]]]:
    """The parts of record files, and the questions of each benchmark.

    With `cultures`, only rows with such a label count. Raises `InputError` where a language
    has no resource level.
    """
    parts: list[Part] = []
    questions: dict[str, set[str]] = {}
    languages: set[str] = set()
    for path in paths:
        found = records.contents(path, cultures)
        languages |= found.languages
        for benchmark, ids in found.questions.items():
            questions.setdefault(benchmark, set()).update(ids)
        own = Part([path], [found])
        for part in [part for part in parts if _share(part, found)]:
            parts.remove(part)
            own = Part(part.paths + own.paths, part.found + own.found)
        parts.append(own)
    check_languages(languages, levels)
    return parts, {benchmark: sorted(ids) for benchmark, ids in questions.items()}


def _share(part: Part, found: Contents) -> bool:
    return any(not other.pairs.isdisjoint(found.pairs) for other in part.found)


def each(
    parts: list[Part],
    function: Callable[..., Any],
    *arguments: Any,
    processes: int,
    select: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    many: int | None = None,
) -> list[Any]:
    """`function(block, *arguments)` of every block, sorted by run and benchmark.

    Several parts with at least `many` rows in all are shared among `processes` processes.
    Results do not depend on their number.
    """
    if processes < 1:
        raise InputError(f"--processes: {processes}, expected at least 1")
    rows = sum(found.rows for part in parts for found in part.found)
    tasks = [(part.paths, function, arguments, select) for part in parts]
    processes = min(processes, len(parts))
    if processes < 2 or rows < (MANY_ROWS if many is None else many):
        made = list(tqdm(map(_one, tasks), total=len(parts), unit="part", desc="records"))
    else:
        made = list(tqdm(_shared(tasks, processes), total=len(parts), unit="part", desc="records"))
    pairs = sorted((pair for part in made for pair in part), key=lambda pair: pair[0])
    return [result for _, result in pairs]


def _shared(tasks: list[Any], processes: int) -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _alone, (os.getpid(),)) as pool:
        try:
            yield from pool.map(_one, tasks)
        except BrokenProcessPool as error:
            raise InputError(
                "records: a process that computed metrics was killed, most likely for lack of "
                "memory; --processes 1 needs less"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _alone(parent: int) -> None:
    """What each process does first: it reads with one thread, and ends with its parent."""
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # A parent that is terminated runs no code of its own, and the memory would stay taken.
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _one(task: Any) -> list[tuple[tuple[str, str], Any]]:
    paths, function, arguments, select = task
    frame = records.read(paths, compact=True)
    if select is not None:
        frame = select(frame)
    return [(_key(block), function(block, *arguments)) for block in blocks(frame)]


def _key(block: Block) -> tuple[str, str]:
    return block.keys["run"], block.keys["benchmark"]
