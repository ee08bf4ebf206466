"""Join the records of a run's shards into the file that one job for all would have written."""

from __future__ import annotations

import argparse

from multical import records
from multical.errors import program


def main() -> None:
    """Read all shards, which must not overlap, and write them as one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", required=True, nargs="+", metavar="PARQUET")
    parser.add_argument("--output", required=True, metavar="PARQUET")
    args = parser.parse_args()
    records.write(args.output, records.read(args.records))


if __name__ == "__main__":
    program(main)
