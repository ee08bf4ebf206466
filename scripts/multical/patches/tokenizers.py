"""transformers 5.23 parses the file of some tokenizers twice, and keeps what it has parsed.

- It reads added tokens first, then the rest. `read_once` has it parse the file, 33 MB for Gemma,
  for both.
  Until transformers > 5.23.0: one reading of a tokenizer's file.
- Some classes keep the vocabulary and merges that they made their tokenizer from, for Gemma 200 MB.
  `drop_parsed` removes them.
  Until transformers > 5.23.0: a GemmaTokenizer without `_vocab` and `_merges`.
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
#: Attributes that the classes of tokenizers read only while they are made
PARSED = ("_vocab", "_merges")


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


def drop_parsed(tokenizer: Any) -> None:
    """Remove what a tokenizer was made from; the tokens themselves are in `backend_tokenizer`."""
    for name in PARSED:
        vars(tokenizer).pop(name, None)
