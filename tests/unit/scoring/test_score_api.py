"""score_api.py against an API on loopback: records, faults, resuming, cost, and the key."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import sqlite3
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import score_api
from multical import records
from multical.data import questions
from multical.errors import InputError
from multical.metrics import readouts
from multical.models import chat
from multical.models.api_params import Endpoint
from multical.scoring import api, api_client
from multical.scoring.api import Answer, rendered
from multical.scoring.prices import Bill
from multical.workflow import costs
from support import api_server, tiny
from support.api_server import KEY, Api

ASKED = {"en": "Which {}?", "ko": "{}의 통화는?", "sw": "Ipi {}?"}
PROMPT = {"name": "own", "multiple_choice": "{question}\n{options}\n{A}", "cloze": "{question}",
          "headings": {"A": {"default": "Answer:", "sw": "Jibu:"}}}  # fmt: skip
ACCESS: dict[str, Any] = {
    "key": "TEST_API_KEY",
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "concurrency": 4,
    "timeout": 60,
    "retries": 3,
    "prices": {"input": 2.5, "output": 10.0, "currency": "USD"},
    "budget": None,
}
RECORDED = ["letter_logits", "letter_bounds", "logsumexp", "prompt_tokens"]


def quiz(offset: int = 0) -> pd.DataFrame:
    """Four questions of 2 to 5 options in each of three languages."""
    rows = [
        {
            "question_id": f"q{number + offset}",
            "language": language,
            "subject": None,
            "culture": None,
            "question": text.format("x" * (number + offset)),
            "options": ["Euro", "yen", "원", "leu", "franc"][: 2 + number % 4],
            "answer": number % 2,
        }
        for language, text in ASKED.items()
        for number in range(4)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("TEST_API_KEY", KEY)
    monkeypatch.setattr(api_client, "LONGEST_WAIT", 0.01)
    with api_server.serve() as found:
        yield found


Score = Callable[..., pd.DataFrame]


@pytest.fixture
def score(server: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    """Run the program in this process; what it records."""
    questions.write(tmp_path / "quiz.parquet", quiz())
    questions.write(tmp_path / "fewshot.parquet", quiz(100))

    def run(endpoint: str = "chat", num_fewshot: int = 0, **changed: Any) -> pd.DataFrame:
        access = {key: changed.pop(key, value) for key, value in ACCESS.items()}
        about: dict[str, Any] = {
            "url": server.url,
            "model": "m-1",
            "endpoint": endpoint,
            "eos_token": "</s>",
        }
        about |= {"top_logprobs": changed.pop("top_logprobs", 5), "request": {"seed": 7}}
        given = {
            "run": "gpt", "benchmark": "quiz", "languages": None, "questions_per_language": None,
            "prompts": [PROMPT], "num_fewshot": num_fewshot, "api": about,
            "chat_format": "template" if endpoint == "chat" else "plain", **changed,
        }  # fmt: skip
        words = ["score_api.py", "--params", json.dumps(given), "--access", json.dumps(access)]
        for flag, name in (
            ("questions", "quiz.parquet"), ("output", "out.parquet"), ("usage", "usage.json"),
            ("cache", "cache/gpt.sqlite"),
        ):  # fmt: skip
            words += [f"--{flag}", str(tmp_path / name)]
        words += ["--fewshot", *([str(tmp_path / "fewshot.parquet")] if num_fewshot else [])]
        monkeypatch.setattr(sys, "argv", words)
        score_api.main()
        return records.read(tmp_path / "out.parquet")

    return run


def used(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "usage.json").read_text("utf-8"))
    return found


def kept(folder: Path) -> list[dict[str, Any]]:
    """The answers in the cache."""
    with sqlite3.connect(folder / "cache/gpt.sqlite") as data:
        return [json.loads(text) for (text,) in data.execute("SELECT answer FROM answers")]


def test_records_of_chat(score: Score, server: Api, tmp_path: Path) -> None:
    found = score(top_logprobs=5).set_index(["language", "question_id"])
    assert len(found) == len(server.bodies) == 12
    assert set(found["run"]) == set(found["model"]) == {"gpt"}
    assert found[["text_logliks", "text_tokens", "sft", "msp"]].isna().all(axis=None)
    assert set(found["logsumexp"]) == {0.0}
    for row in quiz().to_dict("records"):
        lines = [f"{a}. {text}" for a, text in zip("ABCDE", row["options"], strict=False)]
        ending = "Jibu:" if row["language"] == "sw" else "Answer:"
        asked = [{"role": "user", "content": "\n".join([row["question"], *lines, ending])}]
        (body,) = [body for body in server.bodies if body["messages"] == asked]
        assert body == {
            "model": "m-1", "messages": asked, "logprobs": True, "top_logprobs": 5,
            "max_tokens": 1, "temperature": 0, "seed": 7,
        }  # fmt: skip
        record = found.loc[(row["language"], row["question_id"])]
        likely = api_server.listed(json.dumps(asked), 5)
        for place in range(len(row["options"])):
            own = [v for token, v in likely if token.strip("▁Ġ \t\n") == "ABCDE"[place]]
            wanted = np.logaddexp.reduce(own) if own else min(v for _, v in likely)
            assert record["letter_logits"][place] == pytest.approx(wanted, abs=1e-6)
            assert record["letter_bounds"][place] == (not own)
        assert record["prompt_tokens"] == len(json.dumps(asked)) // 3
    bounds = [bound for row in found["letter_bounds"] for bound in row]
    assert 0 < sum(bounds) < len(bounds)
    assert used(tmp_path)["unlisted_letters"] == sum(bounds)
    assert used(tmp_path)["models"] == {"m-1-2026 fp_1": 12}
    assert used(tmp_path)["source"]["url"] == server.url


def test_records_of_completions_with_examples(score: Score, server: Api, tmp_path: Path) -> None:
    found = score("completions", num_fewshot=2)
    assert len(found) == 12
    plain = chat.Chat(tiny.tokenizer(), "plain")
    (body,) = [body for body in server.bodies if "Ipi ?" in body["prompt"]]
    text = body["prompt"]
    assert body["logprobs"] == 5
    assert "messages" not in body
    assert text.count("Question: Ipi ") == 3
    assert text.count("</s>\n") == 2
    assert text.endswith("\nA. Euro\nB. yen\nJibu:\nAnswer:")
    turns: Any = [
        {"role": "user", "content": "x"}, {"role": "assistant", "content": "A"},
        {"role": "user", "content": "y"},
    ]  # fmt: skip
    assert rendered("plain", turns, "</s>") == plain.prompt(turns)
    assert rendered("none", turns, "</s>") == "x A\n\ny"
    assert rendered("tulu", turns, "</s>") == chat.Chat(tiny.tokenizer(), "tulu").prompt(turns)


def test_two_prompts_with_examples(score: Score, server: Api, tmp_path: Path) -> None:
    """All are in the announcement, the budget and the bill; what one asked is not asked again."""
    score(num_fewshot=2)
    other = {"name": "other", "multiple_choice": "{question}\n{options}\nSay:", "cloze": None}
    with pytest.raises(InputError, match=r"would cost about 0\.01 USD, expected at most 0\.00"):
        score(num_fewshot=2, prompts=[PROMPT, other], budget=1e-9)
    assert len(server.bodies) == 12
    found = score(num_fewshot=2, prompts=[PROMPT, other])
    assert len(server.bodies) == 24
    assert found.groupby("prompt", observed=True).size().to_dict() == {"other": 12, "own": 12}
    wide = found.pivot(index=["language", "question_id"], columns="prompt", values="letter_logits")
    assert not wide.map(list).eq(wide["own"].map(list), axis=0)["other"].all()
    assert all(body["messages"][-1]["content"].endswith("\nSay:") for body in server.bodies[12:])
    assert (used(tmp_path)["asked"]["requests"], used(tmp_path)["answers"]["requests"]) == (12, 24)
    with pytest.raises(
        InputError, match=r"prompts: found two of the name 'own', expected different"
    ):
        score(prompts=[PROMPT, PROMPT])


def test_readouts_that_apply(score: Score) -> None:
    found = score(top_logprobs=14)  # all tokens there are
    for name in ("letter", "letter_full", "msp", "margin", "entropy"):
        assert np.isfinite(readouts.READOUTS[name](found).confidence).all()
    mass = [np.exp(row).sum() for row in found["letter_logits"]]
    assert max(mass) < 1  # of the whole vocabulary
    with pytest.raises(readouts.NotRecordedError, match=r"text_logliks is empty in 12"):
        readouts.text_ppl(found)


def test_letters() -> None:
    def letters(listed: list[tuple[str, float]], count: int) -> tuple[list[float], list[bool]]:
        return Answer(listed, None, Bill(), "").letters(count)

    two = [("A", math.log(0.5)), (" A", math.log(0.25)), ("a", -2.0), ("AB", -3.0), ("J", -4.0)]
    logits, bounds = letters(two, 3)
    assert logits == pytest.approx([math.log(0.75), -4.0, -4.0])
    assert bounds == [False, True, True]  # J is the letter of no option of three
    assert letters(two, 10)[1][9] is False
    assert letters([("The", -0.1), ("I", -3.0)], 2) == ([-3.0, -3.0], [True, True])
    assert letters([], 2) == ([0.0, 0.0], [True, True])  # an empty answer
    assert letters([("A", 0.0), ("B", -9999.0)], 2)[0] == [0.0, -9999.0]
    # the same tokens as of models whose vocabulary is at hand
    tokenizer = tiny.tokenizer()
    for letter, ids in zip("AB", chat.letter_ids(tokenizer, "AB"), strict=True):
        own = [t for t, i in tokenizer.get_vocab().items() if t.strip(api.MARKS) == letter]
        assert len(own) == len(ids)


def test_what_is_listed_beside_the_likeliest_does_not_count() -> None:
    def told(top: dict[str, float]) -> str:
        return json.dumps({"choices": [{"logprobs": {"top_logprobs": [top]}}]})

    about = Endpoint(url="https://a", model="m", endpoint="completions", top_logprobs=2)
    found = api.read(told({"The": -4.0, "A": -0.1, "B": -3.0}), about)  # The was sampled
    assert found.listed == [("A", -0.1), ("B", -3.0)]
    assert (found.prompt_tokens, found.bill) == (None, Bill(1, 0, 0))
    assert api.read(told({"A": -0.1, "B": -math.inf}), about).listed == [("A", -0.1)]
    for odd in ("nan", 0.5):
        with pytest.raises(InputError, match="no log-probabilities"):
            api.read(told({"A": float(odd)}), about)


def test_the_guess_of_tokens_is_that_of_plans() -> None:
    assert (api.BYTES_PER_TOKEN, api.TEMPLATE_TOKENS) == (
        costs.BYTES_PER_TOKEN, costs.TEMPLATE_TOKENS
    )  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 8])
def test_the_same_bytes_in_any_order(
    score: Score, server: Api, tmp_path: Path, concurrency: int
) -> None:
    score(concurrency=1)
    first = (tmp_path / "out.parquet").read_bytes()
    (tmp_path / "cache/gpt.sqlite").unlink()
    server.slowness = 0.05
    server.fail(500, times=3)
    score(concurrency=concurrency)
    assert (tmp_path / "out.parquet").read_bytes() == first
    assert len(server.bodies) == 12 + 12 + 3


@pytest.mark.parametrize(
    "fault", [429, 500, 502, 503, 408, "cut", "garbage", "html", "error"], ids=str
)
def test_faults_that_pass(score: Score, server: Api, fault: str | int, tmp_path: Path) -> None:
    score()
    first = (tmp_path / "out.parquet").read_bytes()
    (tmp_path / "cache/gpt.sqlite").unlink()
    server.fail(fault, times=2)
    score()
    assert (tmp_path / "out.parquet").read_bytes() == first
    assert len(server.bodies) == 12 + 12 + 2


@pytest.mark.parametrize(
    ("fault", "headers", "sentence"),
    [
        (429, {"code": "insufficient_quota"}, "429 a fault"),
        (400, {}, "/v1/chat/completions: 400 a fault, asked with"),
        (404, {}, "404 a fault"),
        (403, {}, "403 a fault"),
        (301, {"Location": "http://127.0.0.1:9/"}, "301 a fault"),
        (429, {"Retry_After": "86400"}, "and asks to wait 86400 s; the answers so far are kept"),
        ("no logprobs", {}, "found no log-probabilities .*not every model and server gives them"),
        ("not numbers", {}, "found no log-probabilities"),
    ],
)
def test_faults_that_stay(
    score: Score, server: Api, fault: str | int, headers: dict[str, str], sentence: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    server.fail(fault, 1, **headers)
    with pytest.raises(InputError, match=sentence) as caught:
        score(concurrency=1)
    assert KEY not in str(caught.value)
    assert len(server.bodies) == 1  # never again, and no other
    assert not (tmp_path / "out.parquet").exists()


def test_probabilities_that_sum_to_more_than_one() -> None:
    def told(first: float, second: float) -> str:
        top = {"A": math.log(first), "B": math.log(second)}
        return json.dumps({"choices": [{"logprobs": {"top_logprobs": [top]}}]})

    about = Endpoint(url="https://a", model="m", endpoint="completions", top_logprobs=2)
    assert len(api.read(told(0.6, 0.405), about).listed) == 2  # rounded
    with pytest.raises(InputError, match=r"the listed probabilities sum to 1\.200"):
        api.read(told(0.6, 0.6), about)


@pytest.mark.parametrize(
    "fault", ["no logprobs", "not numbers", "sum", "deep", "digits", "no float"]
)
def test_an_answer_of_no_use_is_paid_for_once(
    score: Score, server: Api, fault: str, tmp_path: Path
) -> None:
    server.fail(fault)
    sentence = r"en, question q0: .* found no log-probabilities in .*: remove that to ask again"
    for _ in range(2):
        with pytest.raises(InputError, match=sentence):
            score(concurrency=1)
        assert len(server.bodies) == 1
    assert not (tmp_path / "out.parquet").exists()
    (refused,) = (tmp_path / "cache").glob("*.refused.jsonl")
    refused.unlink()
    assert len(score()) == 12


def test_refusals_that_someone_changed(score: Score, server: Api, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/gpt.refused.jsonl").write_text("[7]\n")
    with pytest.raises(InputError, match=r"gpt.refused.jsonl: found a line without request"):
        score()
    assert not server.bodies


@pytest.mark.parametrize("fault", ["drip", "drip of headers"])
def test_an_answer_that_drips(score: Score, server: Api, fault: str) -> None:
    """Each byte comes in time; all of them would take 10 s."""
    server.fail(fault)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"q0: .* no whole answer within 0.5 s .* in each of 1"):
        score(timeout=0.5, retries=0, concurrency=1)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("fault", ["flood", "bomb"])
def test_an_answer_without_end(score: Score, server: Api, fault: str) -> None:
    server.fail(fault)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"q0: .*: found more than 16,777,216 bytes"):
        score(concurrency=1)
    assert tracemalloc.get_traced_memory()[1] < api_server.MUCH / 4
    tracemalloc.stop()
    assert len(server.bodies) == 1


def test_a_key_that_an_answer_echoes(score: Score, server: Api, tmp_path: Path) -> None:
    server.fail("echo")
    assert len(score(concurrency=1)) == 12
    assert used(tmp_path)["models"] == {"*** fp_1": 1, "m-1-2026 fp_1": 11}
    spelled = "".join(f"\\u{ord(letter):04x}" for letter in KEY).encode()
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        assert KEY.encode() not in path.read_bytes()
        assert spelled not in path.read_bytes()


@pytest.mark.parametrize("fault", ["quoted", "status line"])
def test_no_part_of_a_key_is_quoted(score: Score, server: Api, fault: str) -> None:
    server.fail(fault)
    with pytest.raises(InputError) as caught:
        score(concurrency=1, retries=0)
    assert "xxx" in str(caught.value)
    assert KEY[:4] not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_key_is_found_in_any_spelling() -> None:
    key = 'a/"b\\Zz-9'
    numbered = "".join(f"\\u{ord(letter):04X}" for letter in key)
    for text in (key, json.dumps(key)[1:-1], json.dumps(key)[1:-1].replace("/", "\\/"), numbered):
        assert re.fullmatch(api_client.spellings(key), text)
    assert re.sub(api_client.spellings("b12345678"), "*", r'"\\b12345678"') == r'"\\*"'


@pytest.mark.parametrize(
    ("usage", "model"),
    [
        ({"prompt_tokens": 2**31, "completion_tokens": 10**400}, "m-1"),
        ({"prompt_tokens": 7, "completion_tokens": 1}, "m-\ud83d" + "x" * 1000),
    ],
)
def test_counts_and_names_that_cannot_be(
    score: Score, server: Api, tmp_path: Path, usage: dict[str, int], model: str
) -> None:
    server.usage, server.changed = usage, {"model": model}
    found = score()
    few = usage["prompt_tokens"] == 7
    assert found["prompt_tokens"].isna().all() != few
    assert used(tmp_path)["answers"]["input_tokens"] == (84 if few else 0)
    (name,) = used(tmp_path)["models"]
    assert name == ("m-\\ud83d" + "x" * 197 if few else "m-1 fp_1")


def test_no_proxy_between_this_machine_and_itself(
    score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api_server.serve() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "example.org")
        assert len(score()) == 12
        assert not proxy.bodies


def test_a_certificate_that_nobody_signed(
    score: Score, server: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "certificate.pem"
    with api_server.serve(file) as encrypted:
        monkeypatch.setattr(server, "url", encrypted.url)
        with pytest.raises(InputError, match=r"SSLError: .*CERTIFICATE_VERIFY_FAILED") as caught:
            score(concurrency=1)
        assert "in each of" not in str(caught.value)
        assert not encrypted.bodies
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
        with pytest.raises(InputError, match=r"none.pem"):
            score(concurrency=1)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
        assert len(score()) == 12


def test_https_of_a_server_without_it(score: Score, server: Api) -> None:
    server.url = server.url.replace("http:", "https:")
    with pytest.raises(InputError, match=r"WRONG_VERSION_NUMBER") as caught:
        score(concurrency=1)
    assert "in each of" not in str(caught.value)


def test_an_answer_that_is_slow(score: Score, server: Api) -> None:
    server.fail("slow")
    found = score(timeout=1, retries=99)  # others may be slow too, on a busy machine
    assert len(found) == 12
    assert len(server.bodies) > 12


def test_a_server_that_is_down(score: Score, server: Api) -> None:
    server.fail(503, times=99)
    with pytest.raises(InputError, match=r"503 a fault, .* in each of 4 tries; .* are kept"):
        score(concurrency=1)
    assert len(server.bodies) == 4


def test_retry_after_is_honoured(score: Score, server: Api) -> None:
    server.fail(429, Retry_After="0.6")
    score(concurrency=4)
    refused = server.times[0]
    later = [moment - refused for moment in server.times if moment - refused > 0.3]
    assert min(later) >= 0.6  # no request at all in between, but those under way
    assert len(later) >= 12 - 4


def test_retry_after_in_all_its_forms() -> None:
    assert api_client.retry_after("7") == 7
    assert api_client.retry_after("-3") == 0
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert api_client.retry_after(moment) == pytest.approx(30, abs=2)
    for text in (None, "", "soon", "nan"):
        assert api_client.retry_after(text) is None


def test_a_pace_by_requests_and_by_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    both = api_client.Pace(60, 600)
    assert [both.turn(5) for _ in range(3)] == [0, 1, 2]  # a request a second
    assert [both.turn(30) for _ in range(2)] == [3, 6]  # ten tokens a second
    now[0] += 100
    assert both.turn(5) == 0  # unused time is not made up for
    both.add(20)
    assert both.turn(5) == 1 + 2
    both.hold(50)
    assert both.turn(5) == 50
    assert [api_client.Pace(None, None).turn(1e9) for _ in range(2)] == [0, 0]


def test_no_faster_than_the_limits(score: Score, server: Api, tmp_path: Path) -> None:
    start = time.monotonic()
    score(requests_per_minute=600)
    assert time.monotonic() - start >= 11 * 0.1
    (tmp_path / "cache/gpt.sqlite").unlink()
    start = time.monotonic()
    score(tokens_per_minute=12_000)
    tokens = [len(json.dumps(body["messages"])) // 3 for body in server.bodies[12:]]
    assert time.monotonic() - start >= (sum(tokens) - max(tokens)) / 200


def test_an_interrupted_job_goes_on_and_a_rerun_costs_nothing(
    score: Score, server: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score()
    whole, cost = (tmp_path / "out.parquet").read_bytes(), used(tmp_path)["asked"]
    for name in ("out.parquet", "cache/gpt.sqlite"):
        (tmp_path / name).unlink()
    server.bodies.clear()
    server.answered, server.patience = 0, 5
    with pytest.raises(InputError, match=r"400 enough for today"):
        score()
    assert not (tmp_path / "out.parquet").exists()
    server.patience = None
    before, left = len(server.bodies), 12 - server.answered
    assert 0 < left <= 7
    score()
    assert (tmp_path / "out.parquet").read_bytes() == whole
    assert len(server.bodies) - before == left  # what was answered was kept
    assert used(tmp_path)["asked"]["requests"] == left
    assert used(tmp_path)["answers"] == cost
    monkeypatch.delenv("TEST_API_KEY")  # none is needed now
    before = len(server.bodies)
    score(prices=None, requests_per_minute=1)
    assert len(server.bodies) == before
    assert (tmp_path / "out.parquet").read_bytes() == whole
    assert used(tmp_path)["asked"]["requests"] == 0


def test_a_job_that_is_killed_goes_on(score: Score, server: Api, tmp_path: Path) -> None:
    score()
    whole = (tmp_path / "out.parquet").read_bytes()
    for name in ("out.parquet", "cache/gpt.sqlite"):
        (tmp_path / name).unlink()
    before, server.answered, server.most = len(server.bodies), 0, 5
    if (fork := os.fork()) == 0:
        try:
            score_api.main()
        finally:
            os._exit(1)
    while len(server.bodies) < before + 8:  # four more once the four of a language are kept
        time.sleep(0.02)
    os.kill(fork, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == -signal.SIGKILL
    server.most = None
    found = len(kept(tmp_path))
    assert 0 < found < 12
    before = len(server.bodies)
    score()
    assert (tmp_path / "out.parquet").read_bytes() == whole
    assert len(server.bodies) - before == 12 - found


def test_cost_before_and_after(
    score: Score, server: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score()
    said = capsys.readouterr().err
    assert "gpt on quiz: still to ask, by our estimate: 12 requests, " in said
    sent = sum(len(json.dumps(body["messages"])) // 3 for body in server.bodies)
    cost = (sent * 2.5 + 12 * 10) / 1e6
    assert used(tmp_path)["asked"] == {
        "requests": 12, "input_tokens": sent, "output_tokens": 12,
        "cost": pytest.approx(cost), "currency": "USD",
    }  # fmt: skip
    assert f"asked 12 requests, {sent:,} input and 12 output tokens, " in said
    assert "USD" in said


def test_no_more_than_the_budget(score: Score, server: Api) -> None:
    with pytest.raises(
        InputError, match=r"would cost about 0.00 USD, expected at most 0.00 \(access.budget"
    ):
        score(budget=1e-5)
    assert not server.bodies
    dear = {"input": 1000.0, "output": 1000.0, "currency": "EUR"}
    with pytest.raises(InputError, match=r"would cost about .* EUR, expected at most 0.10"):
        score(budget=0.1, prices=dear)
    assert not server.bodies


def test_a_budget_that_the_guess_kept_but_the_answers_do_not(
    score: Score, server: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_api, "expected", lambda _: Bill(1, 0.1, 0))
    with pytest.raises(InputError, match=r"has cost 0.01 USD, expected at most 0.01"):
        score(budget=0.01, concurrency=1, prices={"input": 100, "output": 1, "currency": "USD"})
    asked = len(server.bodies)
    assert 0 < asked < 12
    assert len(kept(tmp_path)) == server.answered  # what is paid for is kept
    time.sleep(0.3)
    assert len(server.bodies) == asked  # and nothing more is asked


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, r"\$TEST_API_KEY: found nothing, expected the API key"),
        ("", "found nothing"),
        ("short", "something that is no key"),
        ("with a space in it", "something that is no key"),
        ("line\nX-Injected: 1", "something that is no key"),
        ("sk-wrong-0123456789", r"401, \$TEST_API_KEY: the key is refused"),
    ],
)
def test_a_key_that_is_missing_or_refused(
    score: Score, value: str | None, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_API_KEY")
    if value is not None:
        monkeypatch.setenv("TEST_API_KEY", value)
    with pytest.raises(InputError, match=sentence) as caught:
        score()
    assert not value or value not in str(caught.value)


def test_no_key_and_none_from_elsewhere(
    score: Score, server: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password secret-of-ada\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(InputError, match=r"401, wants a key \(access.key\)"):
        score(key=None)
    server.key = None
    assert len(score(key=None)) == 12


def test_the_key_is_written_nowhere(
    score: Score, server: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail(500)  # whose message has it
    score()
    server.fail(400)
    with pytest.raises(InputError) as caught:
        score(top_logprobs=6)
    assert "asked with ***" in str(caught.value)
    out, err = capsys.readouterr()
    assert KEY not in out + err + str(caught.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"gpt.sqlite", "usage.json", "out.parquet"}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_what_no_letter_is_listed_of(
    score: Score, server: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(api_server, "TOKENS", ["The", "It", "1.", "a", "**"])
    with pytest.raises(
        InputError, match=r"found no letter among the listed tokens of 12 questions"
    ):
        score()
    assert not (tmp_path / "out.parquet").exists()
    monkeypatch.setattr(score_api, "ENOUGH", 3)
    (tmp_path / "cache/gpt.sqlite").unlink()
    with pytest.raises(
        InputError, match=r"found no letter among the listed tokens of 4 questions"
    ):  # of the first language
        score()
    assert len(server.bodies) == 12 + 4


def test_a_file_that_is_no_cache(score: Score, server: Api, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/gpt.sqlite").write_text("not a database, " * 100)
    with pytest.raises(InputError, match=r"gpt.sqlite: not a usable cache .*, move it away"):
        score()
    assert not server.bodies


def test_a_cache_that_is_damaged(tmp_path: Path) -> None:
    """Beyond its first page, which is all that opening it reads."""
    path = tmp_path / "gpt.sqlite"
    with api.Cache(path) as cache:
        for number in range(200):
            cache.put(f"{number:064d}", "an answer, " * 50)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"x" * (len(content) - 4096))
    with api.Cache(path) as cache:
        for use in (lambda: cache.get("7"), lambda: cache.put("7", "an answer")):
            with pytest.raises(InputError, match=r"gpt.sqlite: not a usable cache .*malformed"):
                use()


def test_answers_stay_as_they_came(score: Score, server: Api, tmp_path: Path) -> None:
    score()
    assert len(kept(tmp_path)) == 12
    assert all(one["choices"][0]["logprobs"]["content"] for one in kept(tmp_path))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"chat_format": "plain"}, "chat_format: .*plain.*template"),
        ({"languages": ["fr"]}, "no questions in .*fr"),
        ({"num_fewshot": 9}, "found 4 examples in en, expected 9"),
        ({"prompts": [{"name": "x"}]}, "missing keys .*multiple_choice"),
        ({"timeout": 1e300}, "timeout: found 1e.300, expected: .* less than or equal to 86400"),
        ({"requests_per_minute": 1e-300}, "requests_per_minute: found 1e-300, expected"),
        ({"tokens_per_minute": 1e-300}, "tokens_per_minute: found 1e-300, expected"),
        ({"concurrency": 1.5}, "concurrency: found 1.5, expected: Input should be a valid integer"),
    ],
)
def test_wrong_settings_get_a_sentence(
    score: Score, server: Api, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        score(**changed)
    assert not server.bodies


@pytest.mark.parametrize("usage", ["none", [1], {"prompt_tokens": "many"}, {"prompt_tokens": -1}])
def test_an_api_that_tells_no_tokens_is_held_to_no_budget(
    server: Api, score: Score, usage: Any
) -> None:
    server.usage = usage
    with pytest.raises(InputError, match=r"the API gives no prompt_tokens, expected them, or no"):
        score(budget=1.0)
    found = score()
    assert found["prompt_tokens"].isna().all()
    assert found["letter_logits"].notna().all()
