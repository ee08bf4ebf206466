"""Records of a study taken one part at a time, so that memory is that of the largest file.

A part is the files that share a run on a benchmark, as a rule one. What spans all files,
the questions that a bootstrap draws from and the languages, is looked up beforehand.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tqdm import tqdm

from multical import records
from multical.cells import Block, blocks, check_languages
from multical.records import Contents

#: Fewer rows than these are not worth starting processes for.
MANY_ROWS = 1_000_000


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
    many: int = MANY_ROWS,
) -> list[Any]:
    """`function(block, *arguments)` of every block, sorted by run and benchmark.

    With more than `many` rows in several parts, as many `processes` share them; their
    number never shows in a result.
    """
    rows = sum(found.rows for part in parts for found in part.found)
    tasks = [(part.paths, function, arguments, select) for part in parts]
    processes = min(processes, len(parts))
    if processes < 2 or rows < many:
        made = list(tqdm(map(_one, tasks), total=len(parts), unit="part", desc="records"))
    else:
        made = list(tqdm(_shared(tasks, processes), total=len(parts), unit="part", desc="records"))
    pairs = sorted((pair for part in made for pair in part), key=lambda pair: pair[0])
    return [result for _, result in pairs]


def _shared(tasks: list[Any], processes: int) -> Iterator[Any]:
    os.environ["OMP_NUM_THREADS"] = "1"  # of each process
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            yield from pool.map(_one, tasks)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _one(task: Any) -> list[tuple[tuple[str, str], Any]]:
    paths, function, arguments, select = task
    frame = records.read(paths, compact=True)
    if select is not None:
        frame = select(frame)
    return [(_key(block), function(block, *arguments)) for block in blocks(frame)]


def _key(block: Block) -> tuple[str, str]:
    return block.keys["run"], block.keys["benchmark"]
