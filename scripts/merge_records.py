"""Join a run's shards into what one job for all would have written, and add up what they used."""

from __future__ import annotations

import argparse

from multical import records
from multical.errors import program
from multical.provenance import usage


def main() -> None:
    """Read all shards, which must not overlap, and write them as one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", required=True, nargs="+", metavar="PARQUET")
    parser.add_argument("--used", required=True, nargs="+", metavar="JSON", help="by each shard")
    parser.add_argument("--output", required=True, metavar="PARQUET")
    parser.add_argument("--usage", required=True, metavar="JSON", help="output: all together")
    args = parser.parse_args()
    whole = records.read(args.records)
    usage.write_sum(args.usage, args.used)
    records.write(args.output, whole)


if __name__ == "__main__":
    program(main)
