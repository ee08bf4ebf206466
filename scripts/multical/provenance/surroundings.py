"""What surrounds a process and could change its results without a trace: variables and modules.

The Snakefile clears it before any job. Jobs inherit what is left.
"""

from __future__ import annotations

import os
import pkgutil
import re
import sys
import sysconfig
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path

from multical.errors import InputError

#: Variables with which accelerate, FSDP and CUDA replace settings of a run, or libraries take other
#: instructions, on which sums depend. `accelerate launch` sets some of them for the processes that
#: it starts.
SETTINGS = re.compile(
    r"(ACCELERATE|FSDP|MEGATRON_LM|PARALLELISM_CONFIG)_\w+|(NVIDIA|TORCH_ALLOW)_TF32\w*_OVERRIDE"
    r"|((LOCAL|GROUP|ROLE)_)?RANK|((LOCAL|ROLE|GROUP)_)?WORLD_SIZE"
    r"|MKL_CBWR|(DNNL|ONEDNN)_MAX_CPU_ISA|ATEN_CPU_CAPABILITY|OPENBLAS_CORETYPE"
)
PYTHONPATH = "PYTHONPATH"
#: Modules that Python runs when it starts, wherever it finds them first
AT_START = {"sitecustomize", "usercustomize"}


def clear(environ: MutableMapping[str, str]) -> list[str]:
    """Remove `SETTINGS`, and folders of PYTHONPATH with a module that hides one of a library.

    Python takes an empty name there for the present folder. Returns a line for each.
    """
    lines = []
    for name in sorted(filter(SETTINGS.fullmatch, environ)):
        del environ[name]
        lines.append(f"${name}: not handed to jobs, since it would change their results")
    given = environ.get(PYTHONPATH)
    folders = given.split(os.pathsep) if given else []
    foreign = {folder: hidden for folder in folders if (hidden := hides(Path(folder)))}
    for folder, hidden in foreign.items():
        place = folder or "the present folder"
        lines.append(f"${PYTHONPATH}: {place}: not handed to jobs, since it hides {hidden[0]}")
    if foreign:
        environ[PYTHONPATH] = os.pathsep.join(one for one in folders if one not in foreign)
    return lines


def check_scripts(folder: Path) -> None:
    """Raise `InputError` for a file beside the programs that they would import for a library."""
    if hidden := hides(folder):
        raise InputError(
            f"{folder.name}/{hidden[0]}: hides the module of that name, which programs import; "
            "expected another name"
        )


def hides(folder: Path) -> list[str]:
    """The modules in a folder or zip with the name of a library's module, or of Python's own."""
    return sorted(_modules(folder) & (_installed() | sys.stdlib_module_names | AT_START))


@cache
def _installed() -> frozenset[str]:
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return frozenset().union(*(_modules(Path(place)) for place in places))


def _modules(folder: Path) -> frozenset[str]:
    """The names of the modules and packages in a folder or zip; none if there is neither."""
    return frozenset(module.name for module in pkgutil.iter_modules([str(folder.absolute())]))
