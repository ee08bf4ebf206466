"""Every check that needs a GPU, and the speed of scoring and of a training step on one: `make gpu`.

It needs a Python with torch and transformers. What else that lacks, `make gpu-wheels` fetches on
another machine (docs/gpu.md). Without a GPU all runs on the processor, at tiny shapes.

    checks      loss and gradients against float64, scores against plain forwards, records and
                4-bit weights on the GPU against the CPU, batches, resuming, two cards
    scoring     speed at the shapes of the papers' models, with random weights
    training    a smoothed step beside steps with other losses, likewise

Another process does the work, on a GPU one for each check. If it dies or runs out of memory, that
is a row of the table, and a fresh process goes on with the next check.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpu_pack import carried
from gpu_pack.rows import HEAD, Row, failures

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "gpu.md"
PARTS: dict[str, list[str]] = {
    "checks": ["loss", "step", "scores", "records", "nf4", "batches", "resume", "processes"],
    "scoring": [
        "matrix product", "score llama-3.1-8b", "score gemma-2-2b", "score mistral-7b",
        "score llama-3.1-70b-instruct",
    ],
    "training": ["train llama-3.1-8b", "train gemma-2-2b", "train mistral-7b"],
}  # fmt: skip
#: Exit code of a worker that leaves the rest to a fresh one
LEFT = 3
WORKER = [sys.executable, "-u", str(HERE / "gpu_pack/worker.py")]
TITLE = """\
# On a GPU

Made by `make gpu ARGS=--record`; [docs/gpu.md](../docs/gpu.md) tells what the checks are.

"""


def main() -> None:
    args = arguments()
    machine: dict[str, Any] = {}
    found: dict[str, list[Row]] = {part: [] for part in args.parts}
    traces = []
    with tempfile.TemporaryDirectory() as folder:
        if unpacked := carried.unpack(carried.WHEELS, Path(folder)):
            print(f"carried: {', '.join(unpacked)}\n")
        paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        for part, rows in found.items():
            chosen = [name for name in PARTS[part] if name in args.only]
            worker = [*WORKER, *["--tiny"] * args.tiny]
            for event in run(worker, chosen, time.monotonic() + 60 * args.minutes):
                if isinstance(event, Row):
                    rows.append(event)
                    print(event.line(), flush=True)
                elif "trace" in event:
                    traces.append(event["trace"])
                elif not machine:
                    machine = event
                    print(f"{machine['about']}\n\n{HEAD}", flush=True)
    if args.record:
        record(RESULTS, machine, found)
    everything = [row for rows in found.values() for row in rows]
    failed = failures(everything)
    print(
        f"\n{len(everything)} rows, {len(failed)} failed", *[row.line() for row in failed], sep="\n"
    )
    print(*traces, sep="\n\n", file=sys.stderr)
    raise SystemExit(bool(failed) or not everything)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [name for part in PARTS.values() for name in part]
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CHECK")
    parser.add_argument("--minutes", type=float, default=9, help="for a part (default: 9)")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes on a GPU, too")
    parser.add_argument("--record", action="store_true", help=f"write {RESULTS.name}")
    args = parser.parse_args()
    if args.record and args.only != names:
        parser.error("--record: takes whole parts, expected no --only beside it")
    return args


def run(worker: Sequence[str], names: list[str], deadline: float) -> Iterator[Row | dict[str, Any]]:
    """Rows of the checks, and the machine as each of the processes found it."""
    rest = list(names)
    while rest and time.monotonic() < deadline:
        before, found = len(rest), False
        for event in events([*worker, *rest], deadline):
            if "row" in event:
                found = True
                yield Row(**event["row"])
            elif "done" in event:
                found = False
                rest.remove(event["done"])
            elif "status" not in event:
                yield event
            elif rest and not (event["status"] == LEFT and len(rest) < before):
                yield ended(rest.pop(0), event, found)
                yield {"trace": "\n".join(event["said"])}
    for name in rest:
        yield Row(name, "", "not run: the time of this part is over", "", "no time")


def ended(check: str, event: dict[str, Any], found: bool) -> Row:
    """The row of a check whose process ended within it."""
    if event["status"] is None:
        said = "cut off" if found else "not finished"
        return Row(check, "", f"{said}: the time of this part is over", "", "no time")
    said = "".join(event["said"][-1:])
    return Row(check, "", f"its process ended with {event['status']}: {said}", "", "NO")


def events(command: Sequence[str], deadline: float) -> Iterator[dict[str, Any]]:
    """What a worker says, and at last its exit code, None if it was ended at the deadline.

    With the exit code come the last lines of its messages.
    """
    lines: queue.Queue[str | None] = queue.Queue()
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, process_group=0
        )
        assert child.stdout is not None
        reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
        reader.start()
        try:
            while True:
                left = deadline - time.monotonic()
                if (line := lines.get(timeout=max(0.0, left))) is None:
                    break
                yield json.loads(line)
            status: int | None = child.wait()
        except queue.Empty:
            status = None
        finally:
            _kill(child)
        log.seek(0)
        said = [line for line in log.read().splitlines() if line.strip()]
        yield {"status": status, "said": said[-20:]}


def _read(stream: Any, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _kill(child: subprocess.Popen[str]) -> None:
    """End a worker, and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, 9)
    child.wait()


def record(file: Path, machine: dict[str, Any], found: dict[str, list[Row]]) -> None:
    """Put these parts in place of earlier ones; those of another machine or versions are dropped.

    Raises `SystemExit` if there was no GPU, or shapes were tiny.
    """
    if not machine.get("card") or machine["tiny"]:
        raise SystemExit(f"error: {file.name}: not written, expected true shapes on a GPU")
    about = f"{machine['about']}\n"
    kept: dict[str, str] = {}
    if file.exists() and f"\n{about}" in (text := file.read_text(encoding="utf-8")):
        kept = dict(re.findall(r"^## (\w+)\n\n(.*?)\n(?=\n## |\Z)", text, re.M | re.S))
    for part, rows in found.items():
        kept[part] = "\n".join([HEAD, *(row.line() for row in rows)])
    parts = "".join(f"\n## {part}\n\n{kept[part]}\n" for part in PARTS if part in kept)
    file.write_text(f"{TITLE}{about}{parts}", encoding="utf-8")


if __name__ == "__main__":
    main()
