"""A damaged Parquet file is refused; it is never read as other values."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from multical import parquet, records
from multical.data import questions
from multical.errors import InputError

ROWS = 100


def answers(path: Path) -> None:
    random_numbers = np.random.default_rng(0)
    records.write(
        path,
        pd.DataFrame(
            {
                "run": "m", "model": "m", "benchmark": "b", "prompt": "p", "language": "en",
                "question_id": [f"q{number}" for number in range(ROWS)],
                "letter_logits": [*random_numbers.normal(size=(ROWS, 4))],
                "logsumexp": random_numbers.normal(size=ROWS),
                "n_options": 4, "gold": random_numbers.integers(0, 4, ROWS),
            }
        ),
    )  # fmt: skip


def asked(path: Path) -> None:
    letters = random.Random(0)
    rows = [
        {
            "question_id": f"q{number}", "language": "en", "subject": None, "culture": None,
            "question": "".join(letters.choices("abcdefghij", k=40)), "options": ["a", "b"],
            "answer": letters.randrange(2),
        }
        for number in range(ROWS)
    ]  # fmt: skip
    questions.write(path, pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("write", "read"), [(answers, records.read), (asked, questions.read)], ids=["records", "asked"]
)
def test_a_flipped_bit(
    tmp_path: Path, write: Callable[[Path], None], read: Callable[[Path], Any]
) -> None:
    path, flipped = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write(path)
    whole, bits, refused = path.read_bytes(), random.Random(1), 0
    for bit in bits.sample(range(8 * len(whole)), 100):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        flipped.write_bytes(damaged)
        try:
            assert read(flipped).equals(read(path))
        except InputError:
            refused += 1
    assert refused > 20


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    answers(tmp_path / "new.parquet")
    table = parquet.read(tmp_path / "new.parquet")
    pq.write_table(table, tmp_path / "old.parquet", compression="zstd")
    old, new = (records.read(tmp_path / f"{name}.parquet") for name in ("old", "new"))
    pd.testing.assert_frame_equal(old, new)
