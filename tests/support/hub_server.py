"""A hub on loopback: the HTTP API of the Hugging Face hub, as far as its clients need it.

Unmodified `datasets.load_dataset`, `huggingface_hub` and `transformers.from_pretrained`
take repositories from it, in this process (`point`) or in others (`environment`).
Repositories lie in memory. What goes wrong is asked for with `fail` and `cut`; gated and
missing repositories, and tokens, answer as the real hub does.

    python tests/support/hub_server.py FOLDER    serves FOLDER/{models,datasets}/OWNER/NAME
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

GOOD_TOKEN = "hf_good"
#: A token that is valid, but that no gated repository is open to
STRANGER = "hf_stranger"
#: Files of these kinds are kept as LFS objects, whose ETag is their SHA-256
LARGE = (".parquet", ".safetensors", ".jsonl", ".model", ".bin")
API = re.compile(r"/api/(models|datasets)/([\w.-]+/[\w.-]+)(?:/([\w-]+)(?:/([^/]+)(?:/(.*))?)?)?")
FILE = re.compile(r"/(datasets/)?([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repo:
    """A repository with one commit, named by its content, on the branch `main`."""

    kind: str  # models or datasets
    name: str
    files: dict[str, bytes]
    gated: bool = False

    @property
    def revision(self) -> str:
        """The commit: 40 hexadecimal digits."""
        digest = hashlib.sha1(self.name.encode())
        for path, content in sorted(self.files.items()):
            digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
        return digest.hexdigest()

    def tree(self, folder: str = "", recursive: bool = True) -> list[dict[str, Any]]:
        """Files under a folder, or its own files and folders."""
        start = f"{folder}/" if folder else ""
        inside = [path for path in sorted(self.files) if path.startswith(start)]
        own = [path for path in inside if recursive or "/" not in path[len(start) :]]
        folders = sorted({start + p[len(start) :].split("/")[0] for p in inside if p not in own})
        return [self.about(path) for path in own] + [
            {"type": "directory", "path": path, "oid": _oid(path.encode()), "size": 0}
            for path in folders
        ]

    def about(self, path: str) -> dict[str, Any]:
        """A file as the API lists it."""
        content = self.files[path]
        found = {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
        if path.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            found["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
        return found

    def etag(self, path: str) -> str:
        """What the hub's clients tell contents apart by."""
        found = self.about(path)
        return str(found.get("lfs", found)["oid"])


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path holds `where`."""

    where: str
    times: float
    status: int | None = None  # None: cut off in the middle of the content
    method: str = ""  # any


@dataclass
class Hub:
    """What is served, what goes wrong, and what was asked."""

    url: str = ""
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, int]] = field(default_factory=list)  # method, path, status
    lock: Any = field(default_factory=Lock)

    def add(
        self, kind: str, name: str, files: dict[str, bytes] | Path, gated: bool = False
    ) -> Repo:
        """Serve a repository of `models` or `datasets`, from memory or a folder."""
        if isinstance(files, Path):
            found = [path for path in files.rglob("*") if path.is_file()]
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in found}
        made = Repo(kind, name, files, gated)
        self.repos[kind, name] = made
        return made

    def fail(self, status: int, where: str = "/", times: float = 1, method: str = "") -> None:
        """Answer so instead, the next `times`."""
        self.faults.append(Fault(where, times, status, method))

    def cut(self, where: str, times: float = 1) -> None:
        """Close the connection in the middle of a file's content, the next `times`."""
        self.faults.append(Fault(where, times, method="GET"))

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that a request meets, which is then one less."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.where in path and method in (fault.method or method):
                    fault.times -= 1
                    return fault
        return None

    def environment(self, cache: Path) -> dict[str, str]:
        """For programs that are to use this hub, with a cache of their own and no token."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return {
            **kept,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
        }

    def point(self, monkeypatch: pytest.MonkeyPatch, cache: Path, token: str = "") -> None:
        """Make this process use this hub, with a cache of its own."""
        import datasets
        import huggingface_hub

        huggingface_hub.HfFileSystem.clear_instance_cache()  # it remembers listings

        for name, value in (
            ("ENDPOINT", self.url),
            ("HUGGINGFACE_CO_URL_TEMPLATE", self.url + "/{repo_id}/resolve/{revision}/{filename}"),
            ("HF_HUB_CACHE", str(cache / "hub")),
            ("HF_TOKEN_PATH", str(cache / "token")),
            ("HF_HUB_OFFLINE", False),
            ("HF_HUB_DISABLE_XET", True),
        ):
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", self.url)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
        monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(cache / "modules"))
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        else:
            monkeypatch.delenv("HF_TOKEN", raising=False)


class Handler(BaseHTTPRequestHandler):
    """One request of the hub's API."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the client would wait 40 ms for each answer
    hub: Hub

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        split = urlsplit(self.path)
        path, query = unquote(split.path), parse_qs(split.query)
        fault = self.hub.fault(self.command, path)
        self.cut = fault is not None and fault.status is None
        if fault and fault.status:
            return self.error(fault.status, message="a fault that was asked for")
        if path == "/api/whoami-v2":
            return self.whoami()
        if match := FILE.fullmatch(path):
            kind = "datasets" if match[1] else "models"
            if repo := self.repo(kind, match[2], match[3], content=True):
                self.file(repo, match[4])
            return None
        if match := API.fullmatch(path):
            kind, name, verb, revision, rest = match.groups()
            checked = verb == "auth-check"
            if repo := self.repo(kind, name, revision, content=checked):
                self.api(repo, verb, unquote(rest or ""), query, body)
            return None
        return self.error(404)

    def repo(self, kind: str, name: str, revision: str | None, content: bool) -> Repo | None:
        """The repository asked for; otherwise the request is answered with what is wrong."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in ("", GOOD_TOKEN, STRANGER):
            self.error(401, message="Invalid credentials in Authorization header")
            return None
        found = self.hub.repos.get((kind, name))
        if found is None:
            # a stranger is not told what does not exist; the hub need not send the code then,
            # since over https its client takes any 401 so
            self.error(404 if token else 401, "RepoNotFound")
        elif found.gated and content and token != GOOD_TOKEN:
            self.error(403 if token else 401, "GatedRepo", f"Access to {name} is restricted.")
        elif revision not in (None, "main", found.revision):
            self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return found
        return None

    def whoami(self) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token in (GOOD_TOKEN, STRANGER):
            self.json({"type": "user", "name": "ada", "auth": {"type": "access_token"}})
        else:
            self.error(401, message="Invalid credentials in Authorization header")

    def api(
        self, repo: Repo, verb: str | None, rest: str, query: dict[str, list[str]], body: bytes
    ) -> None:
        match verb:
            case None | "revision":
                self.json(self.info(repo))
            case "tree":
                recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
                found = repo.tree(rest, recursive)
                if found:
                    self.json(found)
                else:
                    self.error(404, "EntryNotFound", f"{rest} does not exist")
            case "paths-info":
                kind = self.headers.get("Content-Type") or ""
                asked = json.loads(body) if "json" in kind else parse_qs(body.decode())
                self.json(self.paths(repo, asked.get("paths", [])))
            case "refs":
                main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.revision}
                self.json({"branches": [main], "tags": [], "converts": [], "pullRequests": []})
            case "auth-check":
                self.json({})
            case _:
                self.error(404)

    def info(self, repo: Repo) -> dict[str, Any]:
        return {
            "_id": "0" * 24,
            "id": repo.name,
            "author": repo.name.split("/")[0],
            "sha": repo.revision,
            "private": False,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "siblings": [{"rfilename": path} for path in sorted(repo.files)],
        }

    def paths(self, repo: Repo, paths: list[str]) -> list[dict[str, Any]]:
        """Those of the paths that are files or folders; the hub says nothing of others."""
        found = []
        for path in paths:
            if path in repo.files:
                found.append(repo.about(path))
            elif any(name.startswith(f"{path}/") for name in repo.files):
                oid = _oid(path.encode())
                found.append({"type": "directory", "path": path, "oid": oid, "size": 0})
        return found

    def file(self, repo: Repo, path: str) -> None:
        if path not in repo.files:
            return self.error(404, "EntryNotFound", "Entry not found")
        content = repo.files[path]
        headers = {
            "ETag": f'"{repo.etag(path)}"',
            "X-Repo-Commit": repo.revision,
            "X-Linked-Size": str(len(content)),
            "X-Linked-ETag": f'"{repo.etag(path)}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not asked:
            return self.send(200, content, headers)
        start, stop = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
        if start > stop:
            headers["Content-Range"] = f"bytes */{len(content)}"
            return self.send(416, b"", headers)
        headers["Content-Range"] = f"bytes {start}-{stop}/{len(content)}"
        return self.send(206, content[start : stop + 1], headers)

    def error(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"Content-Type": "application/json"}
        if code:
            headers["X-Error-Code"] = code
        if message:
            headers["X-Error-Message"] = message
        if status == 429:
            headers["RateLimit"] = '"api";r=0;t=7'
        self.send(status, json.dumps({"error": message or code or "?"}).encode(), headers)

    def json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.hub.requests.append((self.command, unquote(urlsplit(self.path).path), status))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut:
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silence."""


@contextmanager
def serve(port: int = 0) -> Iterator[Hub]:
    """A hub without repositories, until the end of the block."""
    hub = Hub()
    handler = type("OwnHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serve a folder until standard input ends; say where, and at which commits."""
    folder = Path(sys.argv[1])
    with serve() as hub:
        for path in sorted(folder.glob("*/*/*")):
            kind, owner, name = path.relative_to(folder).parts
            repo = hub.add(kind, f"{owner}/{name}", path)
            print(f"{kind} {repo.name} {repo.revision}")
        print(f"HF_ENDPOINT={hub.url}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
