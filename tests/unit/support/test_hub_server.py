"""The loopback hub speaks to the hub's own clients, unmodified, as the hub does."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import hub_repos, hub_server, tiny
from support.hub_server import GOOD_TOKEN, STRANGER, Hub

CODE = """
import sys
from datasets import get_dataset_config_names, load_dataset
from huggingface_hub import HfApi
from transformers import AutoModelForCausalLM, AutoTokenizer

data, commit, model, model_commit = sys.argv[1:]
print(get_dataset_config_names(data, revision=commit))
rows = load_dataset(data, "zh", split="test", revision=commit)
print(rows.num_rows, len(rows.column_names), rows[0]["question"][:2])
print([x["sample_id"] for x in load_dataset(data, "en", split="dev", streaming=True)])
print(AutoModelForCausalLM.from_pretrained(model, revision=model_commit).num_parameters())
print(len(AutoTokenizer.from_pretrained(model, revision=model_commit)))
print(HfApi().model_info(model).sha == model_commit)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server.serve() as served:
        yield served


def test_unmodified_clients_in_a_process_of_their_own(hub: Hub, tmp_path: Path) -> None:
    data = hub.add("datasets", "CohereLabs/Global-MMLU-Lite", hub_repos.global_mmlu(["en", "zh"]))
    tiny.folder(tmp_path / "made")
    model = hub.add("models", "lab/tiny", tmp_path / "made/checkpoint", gated=True)
    environment = hub.environment(tmp_path / "cache") | {"HF_TOKEN": GOOD_TOKEN}
    done = subprocess.run(
        [sys.executable, "-c", CODE, data.name, data.revision, model.name, model.revision],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = tiny.model("llama", len(tiny.tokenizer()))
    assert done.stdout.splitlines() == [
        "['en', 'zh']",
        "6 17 问题",
        str([row["sample_id"] for row in hub_repos.global_mmlu_rows("en", "dev", 4)]),
        str(made.num_parameters()),
        str(len(tiny.tokenizer())),
        "True",
    ]
    assert {status for _, path, status in hub.requests if "resolve" in path} <= {200, 206, 404}


def test_a_file_in_parts(hub: Hub) -> None:
    repo = hub.add("datasets", "a/b", {"x/y.parquet": bytes(range(100))})
    url = f"{hub.url}/datasets/a/b/resolve/main/x/y.parquet"

    def get(**headers: str) -> tuple[int, bytes, str]:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            assert answer.headers["X-Repo-Commit"] == repo.revision
            return answer.status, answer.read(), answer.headers["Content-Range"]

    assert get() == (200, bytes(range(100)), None)
    assert get(Range="bytes=90-") == (206, bytes(range(90, 100)), "bytes 90-99/100")
    assert get(Range="bytes=3-5") == (206, b"\3\4\5", "bytes 3-5/100")
    with pytest.raises(urllib.error.HTTPError, match="416"):
        get(Range="bytes=100-")


@pytest.mark.parametrize(
    ("token", "statuses"),
    [(GOOD_TOKEN, [200, 200, 404]), (STRANGER, [403, 200, 404]), ("", [401, 401, 401]),
     ("hf_bad", [401, 401, 401])],
)  # fmt: skip
def test_who_may_see_what(hub: Hub, token: str, statuses: list[int]) -> None:
    repo = hub.add("models", "a/gated", {"config.json": b"{}"}, gated=True)
    found = []
    for path in (
        f"/a/gated/resolve/{repo.revision}/config.json",
        "/api/whoami-v2",
        "/api/models/a/c",
    ):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            request = urllib.request.Request(hub.url + path, headers=headers)
            found.append(urllib.request.urlopen(request).status)
        except urllib.error.HTTPError as error:
            found.append(error.code)
    assert found == statuses


def test_a_commit_is_named_by_content(hub: Hub) -> None:
    one = hub.add("models", "a/b", {"x": b"1"}).revision
    assert hub.add("models", "a/b", {"x": b"1"}).revision == one
    assert hub.add("models", "a/b", {"x": b"2"}).revision != one
    assert hub.add("models", "a/c", {"x": b"1"}).revision != one
