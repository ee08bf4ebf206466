"""The command line of every program that makes figures or tables, and their sidecars.

A program makes one or several products. A product is a figure (PDF, PNG and perhaps SVG) or a table
(CSV and LaTeX), with a sidecar. Its files differ only in their suffix, and their stem is its name.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from multical import params
from multical.errors import InputError
from multical.fixity import Inputs
from multical.provenance.sidecar import write_sidecar

#: The forms of a product: option, and purpose of the file
FIGURE = {"pdf": "for print", "png": "for the screen", "svg": "for the web"}
#: The form of a figure that may be left out
OPTIONAL = "svg"
TABLE = {"csv": "in full precision", "tex": "for print"}
#: An option for the curves that a program computes for a figure, beside its tables
CURVES = {"metavar": "FILE", "required": True, "help": "output: CSV in full precision"}


def arguments(
    description: str | None,
    schema: type[BaseModel],
    inputs: Sequence[str],
    forms: dict[str, str],
    **more: dict[str, Any],
) -> argparse.Namespace:
    """Parse the command line of a program.

    `inputs` are options of one file each, except `records` and `before_records`, which take
    several, or `-` for a list on the standard input. `forms` are the options of the products.
    `more` are further options, as `add_argument` takes them. In the result, `params` is a `schema`,
    and `inputs` has all input files.
    """
    parser = params.command_line(description, schema)
    for name in inputs:
        many: Any = {"nargs": "+", "action": params.Listed} if name.endswith("records") else {}
        parser.add_argument(
            params.option(name), metavar="FILE", required=True, help="input", **many
        )
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the sidecars")
    forms = forms | {"sidecar": "how it was made, JSON"}
    for form, purpose in forms.items():
        parser.add_argument(
            f"--{form}", nargs="+", metavar="FILE", required=form != OPTIONAL,
            help=f"output: {purpose}",
        )  # fmt: skip
    for name, option in more.items():
        parser.add_argument(f"--{name}", **option)
    args = parser.parse_args()
    args.started, args.forms = time.monotonic(), [form for form in forms if getattr(args, form)]
    values = (getattr(args, name) for name in inputs)
    args.inputs = Inputs(
        path for value in values for path in ([value] if isinstance(value, str) else value)
    )
    return args


def names(args: argparse.Namespace) -> list[str]:
    """The names of the products on the command line."""
    return [Path(path).stem for path in getattr(args, args.forms[0])]


def paths(args: argparse.Namespace, name: str) -> dict[str, Path]:
    """The files of a product by form. Raises `InputError` if the command line lacks one."""
    files = {}
    for form in args.forms:
        by_name = {Path(path).stem: Path(path) for path in getattr(args, form)}
        if name not in by_name:
            raise InputError(f"--{form}: found {list(by_name)}, expected {name} among them")
        files[form] = by_name[name]
    return files


def describe(args: argparse.Namespace, name: str, seed: int | None = None) -> None:
    """Write the sidecar of a product. `seed` defaults to the seed in `params`, if any."""
    *files, sidecar = paths(args, name).values()
    write_sidecar(
        sidecar,
        study=args.params.study,
        target=str(files[0]),
        params=args.params.model_dump(mode="json"),
        code=args.code,
        inputs=args.inputs,
        outputs=files,
        started=args.started,
        seed=getattr(args.params, "seed", None) if seed is None else seed,
    )
