"""What tests have other processes do with a block of records.

Here, since a process imports the module of what it does, and that of the tests imports more.
"""

from __future__ import annotations

import os

from multical.errors import InputError
from multical.stats.blocks import Block


def place(block: Block) -> tuple[str, str, list[str]]:
    return block.keys["run"], block.keys["benchmark"], list(block.languages)


def refuse(block: Block) -> None:
    raise InputError(f"of run {block.keys['run']}")


def end(block: Block) -> None:
    os._exit(9)
