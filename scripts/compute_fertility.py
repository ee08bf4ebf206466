"""Compute the fertility of each language: tokens a byte of the options' texts.

Fertility is the tokens of all options of all questions, divided by their bytes in UTF-8. The more
tokens a tokenizer needs for a byte, the less a model has seen of the language. (Rust et al. 2021
count tokens a word, which not all scripts mark.) A language whose records have no texts of
options, with their tokens and bytes, has no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from multical.errors import program
from multical.labels import level_of
from multical.records import flat
from multical.stats import record_files
from multical.stats.blocks import RUN, Block
from multical.stats.params import FertilityJob

COUNTS = ["text_tokens", "text_bytes"]
COLUMNS = [*RUN, "language", "resource_level", "fertility", "tokens", "bytes", "n"]


def main() -> None:
    record_files.write_tables(__doc__, FertilityJob, {"output": "by language"}, compute)


def compute(paths: Iterable[str], params: FertilityJob, processes: int = 1) -> list[pd.DataFrame]:
    """The table, in a list, of record files."""
    levels = params.resource_levels
    parts, _ = record_files.survey(paths)
    return record_files.tables(parts, block_rows, levels, processes=processes, columns=[COLUMNS])


def block_rows(block: Block, levels: Mapping[str, str]) -> tuple[list[dict[str, Any]]]:
    """The table's rows of one run on one benchmark."""
    rows = []
    for language, questions in block.languages.items():
        if questions[COUNTS].notna().all(axis=None):
            tokens, size = (int(flat(questions[name])[0].sum()) for name in COUNTS)
            level = level_of(language, levels)
            row = {"language": language, "resource_level": level, "n": len(questions)}
            row |= {"fertility": tokens / size, "tokens": tokens, "bytes": size}
            rows.append({**block.keys, **row})
    return (rows,)


if __name__ == "__main__":
    program(main)
