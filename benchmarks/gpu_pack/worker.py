"""Does the checks named on its command line, in turn, and says what it finds as lines of JSON.

    {"about", "card", "tiny"}   the machine, first of all
    {"row": {...}}              a row of the table
    {"trace"}                   where a check failed
    {"done": NAME}              the check is over

After a check that fails, and on a GPU after any, it ends with the exit code 3, and leaves the rest
to a process with empty memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
for folder in ("benchmarks", "scripts", "tests"):
    sys.path.insert(0, str(REPO / folder))
#: What libraries print is not for the reader of this process
OUTPUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

from gpu_pack.rows import Row, as_json  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="+", metavar="NAME")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from gpu_pack.machine import Machine

    machine = Machine.here(args.tiny)
    say(about=machine.about(), card=machine.card, tiny=machine.tiny)
    for name in args.checks:
        failed = False
        try:
            for row in check(name)(machine):
                say(row=as_json(row))
        except (Exception, SystemExit) as error:
            failed = True
            say(trace=f"{name}: {traceback.format_exc()}")
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            say(row=as_json(Row(name, "", reason, "no error", "NO")))
        say(done=name)
        if failed or machine.card:
            sys.stderr.flush()
            os._exit(3)  # at once: a GPU in error may not let go
        tidy()


def check(name: str) -> Any:
    """The function of a check; only its module is imported, with what it needs."""
    if name.startswith(("score ", "matrix product")):
        from gpu_pack import scoring

        return scoring.check(name)
    if name.startswith("train "):
        from gpu_pack import training

        return training.check(name)
    from gpu_pack import checks

    return getattr(checks, name)


def tidy() -> None:
    """Undo what a check set for the whole process, and give its memory back."""
    import torch

    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def say(**what: Any) -> None:
    OUTPUT.write(json.dumps(what) + "\n")
    OUTPUT.flush()


if __name__ == "__main__":
    main()
