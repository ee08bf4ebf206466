"""The parts of a file of code: functions, methods, constants and imports, by name.

Like a fingerprint (multical.provenance.fingerprint), the hash of a part ignores comments, layout
and documentation.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from multical.provenance.fingerprint import kept, without_docstrings

#: Hash of each part, by its name
Parts = dict[str, str]
#: The name for code that has none
REST = "module level"


@cache
def parts(path: Path) -> Parts:
    """The parts of a file; raises `OSError` and `SyntaxError` where it cannot be read."""
    found: Parts = kept(path, "parts", _parts, __file__)
    return found


def _parts(text: bytes, name: str) -> Parts:
    """The parts of the text of a file."""
    tree = without_docstrings(ast.parse(text, filename=name))
    codes: dict[str, str] = {}
    for part, code in _named_parts(tree.body):
        codes[part] = codes.get(part, "") + code
    return {part: hashlib.sha256(code.encode()).hexdigest()[:16] for part, code in codes.items()}


def _named_parts(body: Iterable[ast.stmt], within: str = "") -> Iterator[tuple[str, str]]:
    """Name and code of each statement; each statement of a class is a part of its own."""
    for node in body:
        match node:
            case ast.ClassDef(name=name, body=inner):
                yield from _named_parts(inner, f"{within}{name}.")
                node.body = []
                yield f"{within}{name}", ast.dump(node)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield f"{within}{name}", ast.dump(node)
            case (
                ast.Assign(targets=[ast.Name(id=name), *_])
                | ast.AnnAssign(target=ast.Name(id=name))
            ):
                yield f"{within}{name}", ast.dump(node)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                start = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
                for alias in aliases:
                    yield f"{start}import {ast.unparse(alias)}", ""
            case _:
                yield within.removesuffix(".") or REST, ast.dump(node)


def describe(then: Parts, now: Parts) -> str:
    """What differs: `draw, main changed; helper added`; empty if nothing does."""
    changes = {
        "changed": [name for name in now if name in then and then[name] != now[name]],
        "added": [name for name in now if name not in then],
        "removed": [name for name in then if name not in now],
    }
    return "; ".join(f"{', '.join(names)} {verb}" for verb, names in changes.items() if names)
