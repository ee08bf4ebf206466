"""The search for names and tokens: in text, and in what is compressed in PDF, PNG and Parquet."""

from __future__ import annotations

import base64
import socket
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from multical.bundle import anonymity
from multical.bundle.anonymity import Search
from multical.errors import InputError

NAMES = {"Jörg Nobody": "author", "nobodys": "user", "vm": "host", "/home/nobodys/mc": "folder"}
SEARCH = Search(NAMES)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"by joerg", None),
        ("by Jörg Nobody.".encode(), "author"),
        ("by jörg nobody.".encode("latin-1"), "author"),
        (b'{"by": "J\\u00f6rg Nobody"}', "author"),
        ("by NOBODYS".encode("utf-16-le"), "user"),
        (b"somebodys nobodyss", None),
        (b"see /home/nobodys/mc/results", "folder"),
        (b"see https://nobodys@example.org", "user"),
        (b'{"said": "end\\nnobodys"}', "user"),
        (b"%2Fhome%2Fnobodys", "user"),
        (b"ran on vm", "host"),
        (b"vmstat", None),
        (b"\xff\xfe\x00vm\x00", None),  # two letters among bytes are chance
        (b"\xff\xfe\x00nobodys\x00", "user"),
        (b"hf_abcdefghijklmnopqrstuvwxyz", "a token of the hub"),
    ],
)
def test_names_are_found_as_words_in_any_case(content: bytes, what: str | None) -> None:
    found = SEARCH.find("x.txt", content)
    assert found is None if what is None else what in (found or "")


def figure(path: Path, **metadata: str) -> bytes:
    drawn = Figure()
    drawn.subplots().plot(np.arange(3))
    drawn.savefig(path, metadata=metadata)
    return path.read_bytes()


def test_pdf_is_searched_with_its_streams(tmp_path: Path) -> None:
    plain = figure(tmp_path / "a.pdf")
    assert SEARCH.find("a.pdf", plain) is None
    assert "author" in (
        SEARCH.find("a.pdf", figure(tmp_path / "a.pdf", Author="Jörg Nobody")) or ""
    )
    import zlib

    hidden = b"stream\n" + zlib.compress(b"BT (drawn by nobodys) Tj ET") + b"\nendstream"
    assert b"nobodys" not in hidden
    assert "user" in (SEARCH.find("a.pdf", plain + hidden) or "")


def test_png_is_searched_with_its_compressed_texts(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "made by nobodys " * 20, zip=True)
    for name, info in (("a.png", None), ("b.png", texts)):
        Image.new("RGB", (8, 8)).save(tmp_path / name, pnginfo=info)
    assert SEARCH.find("a.png", (tmp_path / "a.png").read_bytes()) is None
    content = (tmp_path / "b.png").read_bytes()
    assert b"nobodys" not in content
    assert "user" in (SEARCH.find("b.png", content) or "")


@pytest.mark.parametrize(
    "column",
    [["x", "nobodys"], [["x"], ["y", "nobodys"]], pd.Categorical(["x", "nobodys"])],
    ids=["text", "lists", "categories"],
)
def test_parquet_is_searched_column_by_column(tmp_path: Path, column: object) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"a": column, "n": [1, 2]}).to_parquet(path, compression="zstd")
    assert "user" in (SEARCH.find("a.parquet", path.read_bytes()) or "")
    assert Search({"nobody": "user"}).find("a.parquet", path.read_bytes()) is None


def test_a_page_is_searched_without_its_library_and_with_its_pictures() -> None:
    library = '<script class="library">run(vm)</script>'
    picture = base64.b64encode(b"\xff by nobodys \xfe").decode()
    for text, what in (
        (f"<p>x</p>{library}<img src='data:image/webp;base64,q/vm+q=='>", None),
        (f"<p>ran on vm</p>{library}", "host"),
        (f"{library}<script>by('nobodys')</script>", "user"),
        (f"{library}<img src='data:image/webp;base64,{picture}'>", "user"),
    ):
        found = SEARCH.find("index.html", text.encode())
        assert (what is None and found is None) or (what and found and what in found), text


def test_all_that_tells_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "nobodys"
    (home / "mc").mkdir(parents=True)
    monkeypatch.chdir(home / "mc")
    for name, value in {
        "HOME": str(home), "LOGNAME": "nob", "MULTICAL_ACCOUNT": "grant-7", "PWD": "/link/mc",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    git = ["git", "-c", "user.name=Jörg", "-c", "user.email=jn@example.org"]
    for command in (
        ["init", "--quiet"],
        ["commit", "--quiet", "--allow-empty", "--message", "x"],
        ["remote", "add", "origin", "https://example.org/nob-lab/mc.git"],
    ):
        subprocess.run([*git, *command], check=True)
    found = anonymity.names(["University"], allowed=["NOBODYS"])
    assert found == {
        "University": "hidden",
        str(home / "mc"): "folder",
        "/link/mc": "folder",
        str(home): "home",
        "nob": "user",
        "Jörg": "author",
        "jn@example.org": "author",
        "grant-7": "account",
        "https://example.org/nob-lab/mc": "remote",
    } | ({} if socket.gethostname() in anonymity.COMMON else {socket.gethostname(): "host"}) | (
        {socket.gethostname().split(".")[0]: "host"}
    )


def test_a_token_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "abcd1234efgh")
    monkeypatch.setenv("SOME_TOKEN", "1")
    assert anonymity.tokens()["abcd1234efgh"] == "the value of MY_API_KEY"
    assert "1" not in anonymity.tokens()
    looking = Search(anonymity.tokens())
    with pytest.raises(InputError, match=r"^a\.json: has the value of MY_API_KEY, expected none$"):
        looking.check("a.json", b'{"key": "abcd1234efgh"}', "none")
