"""transformers 5.23 imports much that no program here runs.

It imports SciPy for losses of object detection, and reads its source files twice to find the names
in them. That is a tenth of the time until a model can be loaded.

Until transformers > 5.23.0: losses that are imported when they are used, and one search for names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multical.patches.replace import replaced

#: The prefix of the names of modules that transformers has found
MODELS = "models."


def import_models() -> None:
    """Import what transformers makes models with, without the above."""
    import transformers.utils
    from transformers.utils import import_utils

    structure = import_utils.define_import_structure
    models = Path(import_utils.__file__).parents[1] / "models"

    def found(path: str, prefix: str | None = None) -> dict[Any, dict[str, set[str]]]:
        if prefix is None and Path(path) == models / "__init__.py":
            return without_prefix(structure(models, prefix="models"))
        return structure(path, prefix)

    with (
        replaced(import_utils, "define_import_structure", found),
        replaced(transformers.utils, "is_scipy_available", lambda: False),
    ):
        import transformers.modeling_utils


def without_prefix(structure: dict[Any, dict[str, set[str]]]) -> dict[Any, dict[str, set[str]]]:
    """The modules of models in the structure of transformers, by their names in their package."""
    return {
        needed: {
            name.removeprefix(MODELS): objects
            for name, objects in modules.items()
            if name.startswith(MODELS)
        }
        for needed, modules in structure.items()
    }
