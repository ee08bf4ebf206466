"""bitsandbytes 0.50 has a fast path on CPUs that gives other numbers, and is slow to import.

- It multiplies in bfloat16 on some CPUs. `multiply_in_own_dtype` has a layer not do so.
  Until bitsandbytes > 0.50.2: a layer that takes that path for bfloat16 alone.
- Its import warns that a library for that path is missing, and reads PyTorch's compiler, which
  takes a second and 50 MB. peft imports it, and transformers imports peft for each training. From
  the import of this module on it is read when something in it is used.
  Until peft > 0.21.2: an import of bitsandbytes where it is used.
"""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

NAME = "bitsandbytes"


class Unread(ModuleType):
    """A module whose code runs when an attribute is asked for that it does not have yet.

    Its path is one of these, so that an import of a module in it runs its code first.
    """

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec: Any = self.__spec__
        self.__path__ = spec.submodule_search_locations
        try:
            spec.loader.exec_module(self)
        except BaseException:
            sys.modules.pop(spec.name, None)  # as of a failed import
            raise
        return getattr(self, name)


def read_later(name: str) -> None:
    """Have imports of a package give an `Unread` one, unless it is read already or missing."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None:
        return
    module: Any = module_from_spec(spec)
    del module.__path__
    module.__class__ = Unread
    sys.modules[name] = module


logging.getLogger(f"{NAME}.backends.cpu.ops").setLevel(logging.ERROR)
read_later(NAME)


def multiply_in_own_dtype(layer: Any) -> None:
    """Have a `Linear4bit` on a CPU multiply in the type of its input.

    On processors with AVX512-BF16 it would multiply in bfloat16, which not all shapes support.
    """
    layer.support_avx512bf16_for_cpu = False
