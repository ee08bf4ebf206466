"""The machine that the checks run on: its card, its peak, and the versions that matter."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from gpu_pack.carried import installed

CARDS = Path(__file__).with_name("cards.json")
LIBRARIES = "torch transformers trl accelerate bitsandbytes liger-kernel cut-cross-entropy lm_eval"
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Machine:
    """Where the checks run.

    Attributes:
        card: name of the GPU; None without one.
        tiny: whether shapes are tiny: always without a GPU.
        given: the cards that programs of several processes may use, as CUDA_VISIBLE_DEVICES
            names them; None for all.
    """

    card: str | None
    tiny: bool
    given: str | None

    @classmethod
    def here(cls, tiny: bool) -> Machine:
        """This machine. This process uses only its first card from now on."""
        given = os.environ.get(VISIBLE)
        if given != "":
            os.environ[VISIBLE] = (given or "0").split(",")[0]
        card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
        if card is None:  # at tiny shapes threads only wait for each other
            torch.set_num_threads(1)
            os.environ["OMP_NUM_THREADS"] = "1"
        return cls(card, tiny or card is None, given)

    @property
    def device(self) -> str:
        return "cuda" if self.card else "cpu"

    @property
    def memory(self) -> float:
        """GB of the card that are free for this process, before it took any."""
        return torch.cuda.mem_get_info()[0] / 1e9 if self.card else 0.0

    def all_cards(self) -> tuple[dict[str, str], int]:
        """An environment with all cards, and their number."""
        environment = {name: value for name, value in os.environ.items() if name != VISIBLE}
        if self.given is not None:
            environment[VISIBLE] = self.given
        count = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
        told = subprocess.run(count, env=environment, capture_output=True, text=True, check=True)
        return environment, int(told.stdout.split()[-1])

    def seconds(self, function: Callable[[], Any]) -> float:
        """Seconds that a function takes, until the card has finished."""
        if self.card:
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if self.card:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def held(self, reset: bool = False) -> float:
        """GB of the card held at most since the last reset; not measured without a card."""
        if not self.card:
            return math.nan
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 1e9

    def about(self) -> str:
        """One line: card, driver, and versions."""
        versions = {name: installed(name) for name in LIBRARIES.split()}
        found = [
            f"{name} {number}" if number else f"no {name}" for name, number in versions.items()
        ]
        return f"{self._place()}; Python {platform.python_version()}, {', '.join(found)}"

    def _place(self) -> str:
        if not self.card:
            return f"no GPU: tiny shapes on {os.cpu_count()} cores"
        total = torch.cuda.get_device_properties(0).total_memory / 1e9
        shapes = ", tiny shapes" if self.tiny else ""
        return f"{self.card}, {total:.0f} GB{shapes}, driver {driver()}, CUDA {torch.version.cuda}"

    @cached_property
    def peak(self) -> tuple[float, str]:
        """Floating-point operations a second in bfloat16, and where the number is from."""
        known = json.loads(CARDS.read_text(encoding="utf-8"))["peaks"]
        for name, rate in known.items():  # longer names first
            if self.card and re.search(rf"\b{name}\b(?!.*Laptop)", self.card):
                return rate, "the data sheet's peak"
        return self.measured, "the measured rate of matrix products"

    @cached_property
    def measured(self) -> float:
        """Floating-point operations a second of products of large bfloat16 matrices."""
        size = 8192 if self.card else 256
        left, right = (
            torch.randn(size, size, device=self.device, dtype=torch.bfloat16) for _ in range(2)
        )
        times = sorted(self.seconds(lambda: torch.mm(left, right)) for _ in range(10))
        return 2 * size**3 / times[5]


def driver() -> str:
    """The version of NVIDIA's driver, as far as its tool tells."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told.stdout.split("\n")[0].strip()
