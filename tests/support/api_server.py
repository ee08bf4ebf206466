"""An OpenAI-compatible API on loopback, for tests: log-probabilities, limits and faults.

The model behind it is a hash of the prompt: `listed` tells what it lists. What goes wrong is
asked for with `fail`, each fault for one request: a status, with headers; `cut`, `slow`, `drip` of
a body or of headers, `flood` and `bomb`, `echo` of the key, also at the end of what is quoted
(`quoted`, `status line`), and bodies that are no answers.
"""

from __future__ import annotations

import hashlib
import json
import math
import ssl
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

KEY = "sk-loopback-0123456789"
#: Bodies that are answered with status 200 and are none
ODD = {
    "garbage": b'{"choices": [{"lo',
    "html": b"<html>Bad gateway</html>",
    "error": b'{"error": {"code": 502, "message": "Provider returned error"}}',
    "no logprobs": b'{"choices": [{"index": 0, "logprobs": null}]}',
    "not numbers": b'{"choices": [{"logprobs": {"content": [{"top_logprobs": '
    b'[{"token": "A", "logprob": 3.5}]}], "top_logprobs": [{"A": "high"}]}}]}',
    "sum": b'{"choices": [{"logprobs": {"content": [{"top_logprobs": '
    b'[{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -0.1}]}]}}]}',
    "deep": b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "digits": b'{"choices": [], "created": ' + b"9" * 5000 + b"}",
    "no float": b'{"choices": [{"logprobs": {"content": [{"top_logprobs": '
    b'[{"token": "A", "logprob": -' + b"9" * 400 + b"}]}]}}]}",
}
#: Bytes of `flood`, and of what `bomb` unpacks to
MUCH = 300_000_000
#: A certificate for 127.0.0.1 that nobody signed but itself
CERTIFICATE = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKmGfy8YqVwOmv70p
fmMnKY5xte17UYuN0zLWtxkDGC6hRANCAATb49jFFajGFPaDQk5YimU3s6zMQ8CZ
LEwgVzwXfYFf9aQmYMMZGpHldbQVkEkdNG3acD46BItkWRM776rqqQn6
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBkDCCATagAwIBAgIUGWF/a2tO+VvVx3alWBJsznr3cw4wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyOTE2NTAyNFoYDzIxMjYxMTA1
MTY1MDI0WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATb49jFFajGFPaDQk5YimU3s6zMQ8CZLEwgVzwXfYFf9aQmYMMZGpHl
dbQVkEkdNG3acD46BItkWRM776rqqQn6o2QwYjAdBgNVHQ4EFgQUUjh7HlUMy7zv
l1bl+BMFZwZl1zgwHwYDVR0jBBgwFoAUUjh7HlUMy7zvl1bl+BMFZwZl1zgwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0gAMEUC
IFqK5XcfEw5NdoPD6ToRZIdipeKUyT8ziLxVpCmem9V/AiEA36nHcZ5jBpBNKoF9
i1ZoXFn4CoUea0ZsxZWMeMTPzy8=
-----END CERTIFICATE-----
"""
TOKENS = ["A", " A", "B", "ĠB", "C", "▁C", "D", "The", "\n", "**", "(A", "E", " I", "a"]


def listed(text: str, count: int) -> list[tuple[str, float]]:
    """The likeliest `count` tokens after a prompt; with 5, some letters are not among them."""
    scores = {
        token: int.from_bytes(hashlib.sha256(f"{token}|{text}".encode()).digest()[:2]) / 6000
        for token in TOKENS
    }
    total = math.log(sum(map(math.exp, scores.values())))
    ordered = sorted(scores, key=lambda token: -scores[token])[:count]
    return [(token, round(scores[token] - total, 6)) for token in ordered]


def bomb() -> bytes:
    """Many zeros in gzip, packed without a copy of them all."""
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(MUCH // 1_000_000)) + (
        packer.flush()
    )


@dataclass
class Api:
    """What was asked, and what goes wrong."""

    url: str = ""
    key: str | None = KEY
    faults: list[tuple[str | int, dict[str, str]]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)  # of all requests, in order
    times: list[float] = field(default_factory=list)
    answered: int = 0
    patience: int | None = None  # answers after which all is refused
    most: int | None = None  # answers after which none comes, and no refusal either
    usage: Any = None  # what is told of tokens instead
    changed: dict[str, Any] = field(default_factory=dict)  # parts of each answer
    slowness: float = 0.0  # seconds of an answer at most, by its prompt
    lock: Any = field(default_factory=Lock)

    def fail(self, fault: str | int, times: int = 1, **headers: str) -> None:
        """Have the next `times` requests meet a fault, with these headers."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults += [(fault, told)] * times


class Handler(BaseHTTPRequestHandler):
    """One request of the API."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the client would wait 40 ms for each answer
    api: Api

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            return self.error(404, "not_found")
        if self.refused():
            return self.error(401, "invalid_api_key", f"Incorrect key: {self.token}")
        return self.send(200, json.dumps({"data": [{"id": "m-1"}]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        api = self.api
        with api.lock:
            api.bodies.append(body)
            api.times.append(time.monotonic())
            fault, headers = api.faults.pop(0) if api.faults else ("", {})
            tired = api.patience is not None and api.answered >= api.patience
        if self.refused():
            return self.error(401, "invalid_api_key", f"Incorrect key: {self.token}")
        if tired:
            return self.error(400, "tired", "enough for today")
        if isinstance(fault, int):
            code = headers.pop("code", "fault")
            return self.error(fault, code, f"a fault, asked with {self.token}", headers)
        if fault == "slow":
            time.sleep(2)
        if fault in ("drip", "drip of headers"):
            return self.drip(fault)
        if fault in ("flood", "bomb"):
            return self.pour(fault)
        if fault in ("quoted", "status line"):
            return self.echo_where_it_is_cut(fault)
        if fault in ODD:
            return self.send(200, ODD[fault])
        while api.most is not None and api.answered >= api.most:
            time.sleep(0.02)
        answer = self.answer(body)
        if fault == "echo":  # \u0073\u006b...
            content = json.dumps(answer | {"model": "@"}).replace("@", self.spelled).encode()
        else:
            content = json.dumps(answer | api.changed).encode()
        self.cut = fault == "cut"
        with api.lock:
            api.answered += not fault
        return self.send(200, content)

    @property
    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    @property
    def spelled(self) -> str:
        """The key as JSON may write it."""
        return "".join(f"\\u{ord(letter):04x}" for letter in self.token)

    def echo_where_it_is_cut(self, fault: str) -> None:
        """A key whose last letter is one too many for a message of 300 letters."""
        said = "ConnectionError: ('Connection aborted.', BadStatusLine('"
        if fault == "status line":
            self.close_connection = True
            filling = "x" * (301 - len(said) - len(self.token))
            self.wfile.write(f"{filling}{self.token}\r\n\r\n".encode())
        else:
            filling = "\\u001b" + "x" * (301 - len(self.token))
            self.send(400, f'{{"error": {{"message": "{filling}{self.spelled}"}}}}'.encode())

    cut = False

    def refused(self) -> bool:
        return self.api.key is not None and self.token != self.api.key

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        chat = self.path == "/v1/chat/completions"
        asked = body["messages"] if chat else body["prompt"]
        found = listed(json.dumps(asked), body["top_logprobs"] if chat else body["logprobs"])
        digest = hashlib.sha256(json.dumps(asked).encode()).digest()
        time.sleep(self.api.slowness * digest[0] / 255)
        top = [{"token": token, "logprob": value, "bytes": None} for token, value in found]
        logprobs: Any = {"content": [{**top[0], "top_logprobs": top}]}
        if not chat:
            logprobs = {"tokens": [found[0][0]], "top_logprobs": [dict(found)]}
        return {
            "id": f"x-{len(self.api.bodies)}",
            "model": f"{body['model']}-2026",
            "system_fingerprint": "fp_1",
            "choices": [{"index": 0, "logprobs": logprobs, "finish_reason": "length"}],
            "usage": self.api.usage
            or {"prompt_tokens": len(json.dumps(asked)) // 3, "completion_tokens": 1},
        }

    def error(
        self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None
    ) -> None:
        content = json.dumps({"error": {"message": message, "code": code}}).encode()
        self.send(status, content, headers)

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        own = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in {**own, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.cut:
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def drip(self, fault: str) -> None:
        """A byte now and then, for ever: no single wait is long."""
        start = (
            b"HTTP/1.1 200 OK\r\nX: "
            if fault == "drip of headers"
            else (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        )
        self.wfile.write(start)
        for _ in range(200):
            time.sleep(0.05)
            self.wfile.write(b" ")
        self.close_connection = True

    def pour(self, fault: str) -> None:
        """Blanks without end, as they are or packed."""
        self.close_connection = True
        self.send_response(200)
        packed = bomb() if fault == "bomb" else b""
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(packed) or MUCH))
        self.end_headers()
        if packed:
            self.wfile.write(packed)
        for _ in range(0 if packed else MUCH // 1_000_000):
            self.wfile.write(b" " * 1_000_000)

    def log_message(self, *_: object) -> None:
        """Silence."""


class Server(ThreadingHTTPServer):
    """Without a traceback for a client that has gone."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Silence."""


@contextmanager
def serve(certificate: Path | None = None) -> Iterator[Api]:
    """An API, until the end of the block; encrypted if there is a file for its `CERTIFICATE`."""
    api = Api()
    server = Server(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"api": api}))
    api.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    if certificate:
        certificate.write_text(CERTIFICATE.strip(), encoding="utf-8")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        api.url = api.url.replace("http:", "https:")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
