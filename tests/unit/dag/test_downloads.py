"""Which jobs need a network, by the sources of the config; the graph is in test_fetch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import fetch
from multical import paths
from multical.config import files, schema
from multical.dag import downloads
from multical.dag.downloads import Download
from multical.errors import InputError
from multical.models import checkpoints
from support import checkout


@pytest.fixture(scope="module")
def config() -> schema.Config:
    raw = checkout.config()
    raw["models"]["mine"] = {"source": {"kind": "folder", "path": "x"}, "chat_format": "plain"}
    return files.checked(raw)


@pytest.mark.parametrize(
    ("rule", "name", "needed"),
    [
        ("fetch_model", "gemma3-270m", True),  # packages
        ("fetch_model", "qwen3-0.6b-base", True),  # the hub
        ("fetch_model", "mine", False),
        ("make_benchmark", "global-mmlu", True),
        ("make_benchmark", "arc-challenge", True),
        ("make_benchmark", "cldr-facts", False),
        ("make_sft_data", "tulu3", True),
        ("make_sft_data", "facts", False),
        ("import_released", "results/msp_v2", True),
        ("score_api", "any", True),
        ("score_run", "any", False),
    ],
)
def test_what_needs_a_network(
    config: schema.Config, monkeypatch: pytest.MonkeyPatch, rule: str, name: str, needed: bool
) -> None:
    monkeypatch.delenv("MSP_V2_ARCHIVE", raising=False)
    _, wildcard = downloads.RULES.get(rule, ("", "run"))
    job = SimpleNamespace(rule=SimpleNamespace(name=rule), wildcards_dict={wildcard: name})
    assert downloads._needs_network(config, job) is needed
    if rule == "import_released":
        monkeypatch.setenv("MSP_V2_ARCHIVE", "main_results.tar.xz")
        assert not downloads._needs_network(config, job)


def test_checksums_are_those_of_all_files(tmp_path: Path) -> None:
    """As `sha256sum` gives them; not of the file that has the time of a folder."""
    (tmp_path / "checkpoint").mkdir()
    for name in ("checkpoint/config.json", "checkpoint/.snakemake_timestamp", "manifest.json"):
        (tmp_path / name).write_text("{}")
    outputs = [str(tmp_path / "checkpoint"), str(tmp_path / "manifest.json")]
    one = Download("fetch_model", "tiny", outputs, made=True, ended=0.0)
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert one.checksums() == {
        str(tmp_path / name): digest for name in ("checkpoint/config.json", "manifest.json")
    }
    assert one.subject == "model tiny"
    assert one.is_here
    (tmp_path / "manifest.json").unlink()
    assert not one.is_here


def test_files_are_compared_with_manifests_and_with_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest, folder = (
        path.format(model="tiny") for path in (paths.MODEL_MANIFEST, paths.MODEL_CHECKPOINT)
    )
    weights = Path(folder, "model.safetensors")
    weights.parent.mkdir(parents=True)
    weights.write_text("weights")
    checkpoints.write_manifest(manifest, folder, {})
    one = Download("fetch_model", "tiny", [folder, manifest], made=False, ended=0.0)
    assert fetch.check([one]) == "2 files, 0.0 GB"
    assert set(fetch.read()) == {str(weights), manifest}
    weights.write_text("weightz")
    error = f"^{weights}: its content is not what was fetched; remove {folder}, and fetch it again$"
    with pytest.raises(InputError, match=error):
        fetch.check([one])
    checkpoints.write_manifest(manifest, folder, {})  # by whom?
    assert fetch.check([one])  # since it was made anew
    weights.write_text("weights")
    checkpoints.write_manifest(manifest, folder, {})
    with pytest.raises(InputError, match="its content is not what was fetched"):
        fetch.check([Download("fetch_model", "tiny", [folder, manifest], made=True, ended=1.0)])
