"""A fingerprint of all the code that a script runs, which Snakemake treats as an input.

It covers the script, the multical modules that it imports, directly or not, and the lock's
versions of the libraries that any of them imports, with their `COMPANIONS`. Comments, layout and
documentation (docstrings, and descriptions of pydantic fields) do not count. All other code does.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from multical.errors import InputError
from multical.files import atomic
from multical.provenance.libraries import DISTRIBUTIONS

PACKAGE = "multical"
SCRIPTS = Path(__file__).resolve().parents[2]
LOCK = SCRIPTS.parent / "envs" / "requirements.lock"

#: Libraries on which the results of an imported library depend, and which count with it. Its other
#: dependencies (web clients, helpers) change no result, and do not count.
COMPANIONS = {
    "matplotlib": ["contourpy", "fonttools", "kiwisolver", "pillow"],
    "numba": ["llvmlite"],
    "transformers": ["gguf", "jinja2", "safetensors", "tokenizers"],
    "trl": ["accelerate"],
}


@cache
def fingerprint(script: str) -> str:
    """16 hexadecimal digits for `scripts/{script}.py` and what it imports.

    Raises `InputError` for an import that is neither in the standard library, nor in
    multical, nor in the lock.
    """
    modules = sorted(_closure(SCRIPTS / f"{script}.py"))
    lines = (line for module in modules for line in _lines(module))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@cache
def _lines(module: Path) -> list[str]:
    """What a file adds to a fingerprint: the digest of its code, and its libraries' versions."""
    pins = [_pin(library, module) for library in sorted(_used(module))]
    return [f"{module.relative_to(SCRIPTS)} {_parsed(module)[0]}", *pins]


def libraries(script: str) -> set[str]:
    """The libraries that count for `scripts/{script}.py`, as the lock names them."""
    modules = _closure(SCRIPTS / f"{script}.py")
    used = {library for module in modules for library in _used(module)}
    return {canonicalize_name(DISTRIBUTIONS.get(library, library)) for library in used}


def not_as_locked() -> list[str]:
    """A line for each library that is not installed as in the lock; its build does not matter."""
    lines = []
    for name, pin in _lock().items():
        try:
            version = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            version = "not installed"
        if version != pin:
            cure = "rm .venv/lock; make env installs it"
            lines.append(f"{name}: the lock has {pin}, here it is {version}: {cure}")
    return lines


def modules(script: str) -> list[str]:
    """Paths below `scripts` of `scripts/{script}.py` and of what it imports."""
    return sorted(str(file.relative_to(SCRIPTS)) for file in _closure(SCRIPTS / f"{script}.py"))


def _closure(script: Path) -> set[Path]:
    """A script and all multical files that it imports, directly or not."""
    files, todo = {script}, [script]
    while todo:
        imported = _parsed(todo.pop())[1] - files
        files |= imported
        todo += imported
    return files


@cache
def _parsed(path: Path) -> tuple[str, set[Path], set[str]]:
    """Digest of a file's code, the multical files and the libraries that it imports."""
    digest, names = _read(path)
    local = {file for name in names if name.split(".")[0] == PACKAGE for file in _files(name)}
    outer = {name.split(".")[0] for name in names} - {PACKAGE, *sys.stdlib_module_names}
    return digest, local, outer


def _read(path: Path) -> tuple[str, list[str]]:
    """Digest of a file's code, and the names that it imports."""
    try:
        digest, names = kept(path, "fingerprint", _found)
    except OSError as error:
        raise InputError(f"{path.relative_to(SCRIPTS)}: no such script") from error
    return digest, names


def kept(path: Path, kind: str, find: Callable[[bytes, str], Any], *readers: str) -> Any:
    """What `find` finds in the text of a file, given with its name, as JSON has it.

    To parse all files is a third of a dry run. So what was found is kept beside Python's byte code,
    with a digest of all that it was found from: the text, Python, this module and the other files
    of code that it is read by. Raises `OSError` for a file that cannot be read.
    """
    text = path.read_bytes()
    key = hashlib.sha256(_reader(*readers) + text).hexdigest()
    place = path.parent / "__pycache__" / f"{path.stem}.{kind}.json"
    try:
        before, found = json.loads(place.read_bytes())
        if before == key:
            return found
    except (OSError, ValueError, RecursionError, TypeError):
        pass  # not kept yet, or not whole
    found = find(text, path.name)
    with suppress(OSError), atomic(place) as temporary:  # a folder may take no files
        temporary.write_text(json.dumps([key, found]), encoding="utf-8")
    return found


def _found(text: bytes, name: str) -> tuple[str, list[str]]:
    """Digest of the code of a file's text, and the names that it imports."""
    tree = ast.parse(text, filename=name)
    nodes = list(ast.walk(tree))  # once, since it takes a large part of the time
    names = sorted(_imports(nodes, name))
    _remove_docstrings(nodes)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), names


@cache
def _reader(*others: str) -> bytes:
    """What reads files: this module, others, and Python."""
    files = [Path(file).read_bytes() for file in (__file__, *others)]
    return b"".join([*files, sys.version.encode()])


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove docstrings and descriptions of pydantic fields from a tree, and return it."""
    _remove_docstrings(ast.walk(tree))
    return tree


def _remove_docstrings(nodes: Iterable[ast.AST]) -> None:
    """Remove docstrings and descriptions of pydantic fields from the nodes of a tree."""
    for node in nodes:
        match node:
            case ast.Call(
                func=ast.Name(id="Field")
                | ast.Attribute(value=ast.Name(id="pydantic"), attr="Field")
            ):
                node.keywords = [word for word in node.keywords if word.arg != "description"]
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if ast.get_docstring(node, clean=False) is not None:
                    node.body = node.body[1:]


def _used(module: Path) -> set[str]:
    """The libraries that a file imports, with their companions."""
    imported = _parsed(module)[2]
    return imported.union(*(COMPANIONS.get(library, []) for library in imported))


def _imports(nodes: Iterable[ast.AST], name: str) -> set[str]:
    """Dotted names that a file imports, at its top or in functions."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise InputError(
                    f"{name}: line {node.lineno}: a relative import, expected its name"
                )
            names.add(node.module)
            if node.module.split(".")[0] == PACKAGE:
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@cache
def _files(name: str) -> list[Path]:
    """The files that run on the import of a multical module; those of its package for no module."""
    base = SCRIPTS / name.replace(".", "/")
    own = [base.with_suffix(".py"), base / "__init__.py"]
    package = name.rpartition(".")[0]
    return [file for file in own if file.is_file()] + (_files(package) if package else [])


def _pin(library: str, module: Path) -> str:
    name = canonicalize_name(DISTRIBUTIONS.get(library, library))
    if name not in _lock():
        raise InputError(f"{module.name}: imports {library}, which {LOCK.name} does not list")
    return f"{name}=={_lock()[name]}"


@cache
def _lock() -> dict[str, str]:
    return read_lock(LOCK)


def read_lock(path: Path) -> dict[str, str]:
    """The version of each library in a lock."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}
