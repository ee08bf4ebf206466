"""The command line of every program that makes figures or tables, and the sidecars of these.

A program makes one product or several. Each has two forms, PDF and PNG or CSV and LaTeX, and a
sidecar, in files that differ in their suffix alone. The file's stem is the product's name.
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
from multical.provenance.sidecar import write_sidecar

#: The forms of a product, and what each is
FIGURE = {"pdf": "for print", "png": "for the screen"}
TABLE = {"csv": "in full precision", "tex": "for print"}
#: The option of what a figure draws beside its tables
CURVES = {"metavar": "FILE", "required": True, "help": "output: CSV in full precision"}


def arguments(
    description: str | None,
    schema: type[BaseModel],
    inputs: Sequence[str],
    forms: dict[str, str],
    **more: dict[str, Any],
) -> argparse.Namespace:
    """The command line of a program; `params` comes as its schema, `inputs` as paths.

    `inputs` are options, of one file each but for `records`; `more` are further options, as
    `add_argument` takes them.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in inputs:
        several = "+" if name == "records" else None
        parser.add_argument(f"--{name}", nargs=several, metavar="FILE", required=True, help="input")
    named = f"{schema.__module__}.{schema.__name__}"
    parser.add_argument("--params", metavar="JSON", required=True, help=named)
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the sidecars")
    forms = forms | {"sidecar": "where it comes from, JSON"}
    for form, content in forms.items():
        parser.add_argument(
            f"--{form}", nargs="+", metavar="FILE", required=True, help=f"output: {content}"
        )
    for name, option in more.items():
        parser.add_argument(f"--{name}", **option)
    args = parser.parse_args()
    args.started, args.forms = time.monotonic(), list(forms)
    args.params = params.parse(schema, args.params)
    files = (getattr(args, name) for name in inputs)
    args.inputs = [path for one in files for path in ([one] if isinstance(one, str) else one)]
    return args


def names(args: argparse.Namespace) -> list[str]:
    """The products that are asked for."""
    return [Path(path).stem for path in getattr(args, args.forms[0])]


def paths(args: argparse.Namespace, name: str) -> dict[str, Path]:
    """The files of a product by their forms; raises `InputError` where one is not asked for."""
    found = {}
    for form in args.forms:
        given = {Path(path).stem: Path(path) for path in getattr(args, form)}
        if name not in given:
            raise InputError(f"--{form}: found {list(given)}, expected {name} among them")
        found[form] = given[name]
    return found


def describe(args: argparse.Namespace, name: str, seed: int | None = None) -> None:
    """Write the sidecar of a product; its seed is that of the parameters, where none is given."""
    *made, sidecar = paths(args, name).values()
    write_sidecar(
        sidecar,
        study=args.params.study,
        target=str(made[0]),
        params=args.params.model_dump(mode="json"),
        code=args.code,
        inputs=args.inputs,
        outputs=made,
        started=args.started,
        seed=getattr(args.params, "seed", None) if seed is None else seed,
    )
