"""transformers 5.23 parses the file of some tokenizers twice: for added tokens, and for the rest.

That of Gemma has 33 MB.

Until transformers > 5.23.0: one reading of a tokenizer's file.
"""

from __future__ import annotations

import copy
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from multical.patches.replace import replaced

#: The key whose value transformers changes
CHANGED = "added_tokens"


def read_once(path: Path) -> AbstractContextManager[None]:
    """Have `json.load` keep what it finds in a file inside the `with` block."""
    load = json.load
    found: dict[str, Any] = {}

    def keep(stream: Any, **options: Any) -> Any:
        if Path(str(getattr(stream, "name", ""))).resolve() != path.resolve() or options:
            return load(stream, **options)
        if not found:
            found.update(load(stream))
        return {**found, CHANGED: copy.deepcopy(found.get(CHANGED))} if CHANGED in found else found

    return replaced(json, "load", keep)
