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

#: Variables with which accelerate, FSDP, CUDA and matplotlib replace settings of a run, or with
#: which libraries compute as on another processor. `accelerate launch` sets some of them for the
#: processes that it starts.
SETTINGS = re.compile(
    r"(ACCELERATE|FSDP|MEGATRON_LM|PARALLELISM_CONFIG)_\w+|(NVIDIA|TORCH_ALLOW)_TF32\w*_OVERRIDE"
    r"|((LOCAL|GROUP|ROLE)_)?RANK|((LOCAL|ROLE|GROUP)_)?WORLD_SIZE|MPLBACKEND"
    r"|ATEN_CPU_CAPABILITY|MKL_(CBWR|ENABLE_INSTRUCTIONS)|OPENBLAS_CORETYPE"
    r"|(ONEDNN|DNNL)_(DEFAULT_FPMATH_MODE|MAX_CPU_ISA)|NPY_(EN|DIS)ABLE_CPU_FEATURES"
)
#: Folders of modules that Python and libraries import where they find them: `sitecustomize`,
#: Bottleneck, numexpr
PYTHONPATH = "PYTHONPATH"
#: The folder in PYTHONPATH where Snakemake finds our logger, which jobs need not
OWN = Path(__file__).parents[3] / "tools"
#: Modules that Python runs when it starts, wherever it finds them first
AT_START = {"sitecustomize", "usercustomize"}


def clear(environ: MutableMapping[str, str]) -> list[str]:
    """Remove `SETTINGS` and PYTHONPATH. Returns a line for each, but for our own folder."""
    lines = []
    for name in sorted(filter(SETTINGS.fullmatch, environ)):
        del environ[name]
        lines.append(f"${name}: not handed to jobs, since it would change their results")
    folders = filter(None, environ.pop(PYTHONPATH, "").split(os.pathsep))
    if foreign := [folder for folder in folders if Path(folder).resolve() != OWN.resolve()]:
        found = os.pathsep.join(foreign)
        lines.append(f"${PYTHONPATH}: {found}: not handed to jobs, whose results it could change")
    return lines


def check_scripts(folder: Path) -> None:
    """Raise `InputError` for a file beside the programs that they would import for a library."""
    if hidden := hides(folder):
        raise InputError(
            f"{folder.name}/{hidden[0]}: hides the module of that name, which programs import; "
            "expected another name"
        )


def hides(folder: Path) -> list[str]:
    """The modules in a folder with the name of a library's module, or of Python's own."""
    return sorted(_modules(folder) & (_installed() | sys.stdlib_module_names | AT_START))


@cache
def _installed() -> frozenset[str]:
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return frozenset().union(*(_modules(Path(place)) for place in places))


def _modules(folder: Path) -> frozenset[str]:
    """The names of the modules and packages in a folder; none if there is no such folder."""
    return frozenset(module.name for module in pkgutil.iter_modules([str(folder.absolute())]))
