"""Searches files of any kind for tokens, and for names of people, machines and folders.

No bundle may hold a token, and a bundle for double-blind review no such name either. Compressed
parts of files (streams of PDF and PNG, columns of Parquet) are searched as well.
"""

from __future__ import annotations

import base64
import getpass
import io
import json
import os
import pwd
import re
import socket
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from multical.errors import HUB_TOKEN, SECRET, InputError

#: Names of users and machines that are so common that they identify nobody
COMMON = {"admin", "debian", "home", "localhost", "nobody", "root", "runner", "ubuntu", "user"}
#: Shortest name that is searched for in text, and in binary data, which match short names by chance
SHORT, SHORT_IN_BYTES = 2, 6
HUB = re.compile(HUB_TOKEN.pattern.encode())
#: How a compressed stream of zlib begins
ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
#: Parts of a page: a picture, which is binary data, and a library, the same wherever it was made
PICTURE = re.compile(rb"data:image/\w+;base64,([A-Za-z0-9+/=]+)")
LIBRARY = re.compile(rb'<script class="library">.*?</script>', re.DOTALL)
#: How many bytes of a compressed stream are searched at most
MOST = 2**26


def names(hidden: Iterable[str] = (), allowed: Iterable[str] = ()) -> dict[str, str]:
    """Names that tell who works here, and where, each with what it is, such as `user`.

    They are the user, home, this folder, folders that its results lie in by a link, the host, the
    repository's authors and remotes, the cluster's account, and the names in `hidden`. Names in
    `allowed` are left out, as they are words of the data too.
    """
    kinds = dict.fromkeys(hidden, "hidden")
    allowed = {"/root", *COMMON, *map(str.casefold, allowed)}
    host, home = socket.gethostname(), Path.home()
    accounts = [os.environ.get(f"{name}_ACCOUNT", "") for name in ("MULTICAL", "SLURM")]
    remotes = [line.split()[-1] for line in _git("config", "--get-regexp", r"^remote\..*\.url$")]
    for kind, texts in (
        ("folder", [Path.cwd(), os.environ.get("PWD", ""), *_links()]),
        ("home", [home, home.resolve()]),
        ("user", [getpass.getuser(), home.name, *_full_name()]),
        ("host", [host, host.split(".")[0]]),
        ("account", accounts),
        ("author", _git("log", "--all", "--format=%an%n%ae%n%cn%n%ce")),
        ("author", [*_git("config", "user.name"), *_git("config", "user.email")]),
        ("remote", [url.removesuffix(".git") for url in remotes]),
    ):
        for text in map(str, texts):
            if len(text) >= SHORT and text.casefold() not in allowed:
                kinds.setdefault(text, kind)
    return kinds


def tokens() -> dict[str, str]:
    """The tokens and passwords of the environment, each with its variable in words."""
    return {
        value: f"the value of {name}"
        for name, value in os.environ.items()
        if SECRET.search(name) and len(value) >= 8  # not 0, 1, true
    }


def _links() -> list[Path]:
    """Where folders of results lie, if they are links to another disk."""
    folders = [Path("results"), Path("logs"), *Path("results").glob("*")]
    return [folder.resolve() for folder in folders if folder.is_symlink()]


def _full_name() -> list[str]:
    try:
        return [pwd.getpwuid(os.getuid()).pw_gecos.split(",")[0]]
    except KeyError:  # a user without an entry, as in some containers
        return []


def _git(*arguments: str) -> list[str]:
    """The lines that a git command prints; none outside of a repository."""
    try:
        git = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return []
    return sorted(set(git.stdout.splitlines()) - {""}) if git.returncode == 0 else []


class Search:
    """A search for some texts, as whole words in any case, and for tokens of the hub."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._what = {text.casefold(): what for text, what in texts.items()}
        self._all = _pattern(texts)
        self._long = _pattern([text for text in texts if len(text) >= SHORT_IN_BYTES])

    def find(self, name: str, content: bytes) -> str | None:
        """Which of the texts a file holds, in words; `None` if it holds none."""
        for piece in _pieces(name, content):
            if HUB.search(piece):
                return "a token of the hub"
            pattern = self._all if _is_text(piece) else self._long
            for form in (piece, piece.replace(b"\0", b"")):  # the second finds UTF-16
                if pattern and (match := pattern.search(form)):
                    return self._named(match[0])
        return None

    def _named(self, match: bytes) -> str:
        for encoding in ("utf-8", "latin-1"):
            text = match.decode(encoding, errors="replace")
            for known in (text, text.encode("ascii", "replace").decode("unicode_escape")):
                if what := self._what.get(known.casefold()):
                    return what if what.startswith("the value") else f"{known!r} ({what})"
        return "one of the names"

    def check(self, name: str, content: bytes, wanted: str) -> None:
        """Raise `InputError` for a file that holds one of the texts; `wanted` is what to expect."""
        if what := self.find(name, content):
            raise InputError(f"{name}: has {what}, expected {wanted}")


def _pattern(texts: Iterable[str]) -> re.Pattern[bytes] | None:
    r"""A pattern for any of some texts as a word: in UTF-8, in Latin 1, or escaped in JSON.

    An escaped character, as `\n` in JSON or `%20` in an address, may stand right before it.
    """
    forms: set[bytes] = set()
    for text in texts:
        forms |= {text.encode(), text.encode("latin-1", "replace"), json.dumps(text)[1:-1].encode()}
    if not forms:
        return None
    any_of = b"|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    start = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=%[0-9A-Fa-f]{2}))"
    return re.compile(start + rb"(?:" + any_of + rb")(?![A-Za-z0-9])", re.IGNORECASE)


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _pieces(name: str, content: bytes) -> Iterator[bytes]:
    """The content of a file, and each compressed part of it, inflated."""
    if name.endswith(".html"):
        yield LIBRARY.sub(b"", PICTURE.sub(b"", content))
        yield from (base64.b64decode(data) for data in PICTURE.findall(content))
        return
    yield content
    if name.endswith((".pdf", ".png")):
        for match in ZLIB.finditer(content):
            if inflated := _inflated(content[match.start() :]):
                yield inflated
    elif name.endswith(".parquet"):
        yield from _columns(content)


def _inflated(content: bytes) -> bytes:
    """A zlib stream, inflated as far as possible; empty if it is none."""
    stream = zlib.decompressobj()
    try:
        return stream.decompress(content, MOST)
    except zlib.error:
        return b""


def _columns(content: bytes) -> Iterator[bytes]:
    """The texts of a Parquet file, each once."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
    except pa.ArrowInvalid:  # its bytes are searched all the same
        return
    yield str(file.schema_arrow.metadata).encode()
    for field in file.schema_arrow:
        column = file.read([field.name]).column(0)
        if pa.types.is_list(column.type):
            column = pc.list_flatten(column)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type):
            yield "\n".join(filter(None, pc.unique(column).to_pylist())).encode()
