"""Snakemake that asks for the states of its jobs as often as it may: python eager.py ARGUMENT...

SLURM's plugin waits ten seconds more after each time that it found no job ended, so that tests
would mostly wait for it. Here it asks as often as the profile lets it, every five seconds.
"""

from __future__ import annotations

import asyncio
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep(executor: RemoteExecutor) -> None:
    """Leave it to `max-status-checks-per-second` when to ask again."""
    await asyncio.sleep(1)


if __name__ == "__main__":
    RemoteExecutor.sleep = sleep
    sys.exit(main())
