"""Merge the records of all shards of a run, and sum up the usage of their jobs.

The result is the same as that of one job for all languages.
"""

from __future__ import annotations

import argparse

from multical import records
from multical.errors import program
from multical.provenance import usage


def main() -> None:
    """Read all shards, which must not overlap, and write them to one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", required=True, nargs="+", metavar="PARQUET")
    parser.add_argument(
        "--used", required=True, nargs="+", metavar="JSON", help="usage of each shard"
    )
    parser.add_argument("--output", required=True, metavar="PARQUET")
    parser.add_argument("--usage", required=True, metavar="JSON", help="output: total usage")
    args = parser.parse_args()
    merged = records.read(args.records)
    usage.write_sum(args.usage, args.used)
    records.write(args.output, merged)


if __name__ == "__main__":
    program(main)
