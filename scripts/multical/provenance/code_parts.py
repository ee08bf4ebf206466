"""What a file of code is made of: functions, methods, constants and imports, by name.

The names are those that a change is told by; the hashes see what a fingerprint sees
(multical.provenance.fingerprint), which is neither comments, layout nor documentation.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from multical.provenance.fingerprint import without_docstrings

#: Name and hash of each part, in their order
Parts = list[tuple[str, str]]
#: What has no name of its own
REST = "module level"


@cache
def parts(path: Path) -> Parts:
    """The parts of a file; raises `OSError` and `SyntaxError` where it cannot be read."""
    tree = without_docstrings(ast.parse(path.read_text(encoding="utf-8"), filename=path.name))
    return [(name, _digest(text)) for node in tree.body for name, text in _named(node)]


def _named(node: ast.stmt, inside: str = "") -> Iterator[tuple[str, str]]:
    """Names in a statement, each with the text of its code but for the name."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        name, node.name = f"{inside}{node.name}", ""
        yield name, ast.dump(node)
    elif isinstance(node, ast.ClassDef):
        name, node.name = f"{inside}{node.name}", ""
        body, node.body = node.body, []
        yield name, ast.dump(node)
        for one in body:
            for part, text in _named(one, f"{name}."):
                yield (name if part == REST else part), text
    elif isinstance(node, ast.Import | ast.ImportFrom):
        start = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            told = f"{start}import {ast.unparse(alias)}"
            yield told, told
    elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
        target := node.targets[0] if isinstance(node, ast.Assign) else node.target, ast.Name
    ):
        name, target.id = f"{inside}{target.id}", ""
        yield name, ast.dump(node)
    else:
        yield REST, ast.dump(node)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compared(then: Parts, now: Parts) -> str:
    """What differs: `draw, main changed; helper added; a renamed b`; or nothing at all."""
    old, new = _by_name(then), _by_name(now)
    gone = {name: digests for name, digests in old.items() if name not in new}
    come = {name: digests for name, digests in new.items() if name not in old}
    renamed = []
    for name, digests in list(come.items()):
        if before := next((one for one in gone if gone[one] == digests), None):
            renamed.append(f"{before} renamed {name}")
            del gone[before], come[name]
    changed = [name for name in new if name in old and old[name] != new[name]]
    told = [
        f"{', '.join(names)} {what}"
        for what, names in (("changed", changed), ("added", come), ("removed", gone))
        if names
    ]
    if not (told or renamed) and then != now:
        return "order changed"
    return "; ".join([*told, *renamed])


def _by_name(found: Parts) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, digest in found:
        names.setdefault(name, []).append(digest)
    return names
