"""Model folders: a safetensors checkpoint, and a manifest that lists its files.

    FOLDER/manifest.json   input of the rules; small, so that Snakemake compares its content
    FOLDER/checkpoint/     config, tokenizer and weights, as transformers writes them

Programs load a checkpoint only if its files match the manifest.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multical.errors import InputError
from multical.files import sha256, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: A function such as `load`
Loader = Callable[..., tuple["PreTrainedModel", "PreTrainedTokenizerBase"]]
#: Run only code of transformers, and read only files on this machine
SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}

#: Snakemake stores the time of a folder in this file; a shared file would make the source look new
IGNORED = shutil.ignore_patterns(".snakemake_timestamp")


def write_manifest(path: str | Path, checkpoint: str | Path, about: dict[str, Any]) -> None:
    """Write `about`, and the size and SHA-256 of each file of `checkpoint`, as JSON."""
    files = {
        file.relative_to(checkpoint).as_posix(): {
            "bytes": file.stat().st_size,
            "sha256": sha256(file),
        }
        for file in sorted(Path(checkpoint).rglob("*"))
        if file.is_file()
    }
    write_json(path, {**about, "files": files})


def verified(manifest: str | Path, contents: bool = True) -> Path:
    """Compare the checkpoint folder beside `manifest` with the manifest, and return the folder.

    Without `contents` this compares only sizes, for callers that know that another process
    compares the contents. Raises `InputError` for the first file that is missing or differs.
    """
    manifest = Path(manifest)
    checkpoint = manifest.parent / "checkpoint"
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        listed = {name: (about["bytes"], about["sha256"]) for name, about in files.items()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{manifest}: not a manifest of a checkpoint ({error!r})") from error
    for name, (size, digest) in listed.items():
        file = checkpoint / name
        if not file.is_file():
            raise InputError(f"{file}: missing, but listed in {manifest}")
        if file.stat().st_size != size or (contents and sha256(file) != digest):
            raise InputError(f"{file}: its content is not the one listed in {manifest}")
    return checkpoint


def load(
    checkpoint: str | Path,
    dtype: str = "float32",
    device: str | None = None,
    options: Callable[[Any], dict[str, Any]] = lambda config: {},
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model, in evaluation mode, and the tokenizer of a folder.

    `dtype` is the name of a torch type, or `auto` for `fastest_dtype`. `device` is the device of
    the model, by default the GPU if there is one. `options` maps the model's config to further
    arguments of transformers' `from_pretrained`. Weights must be safetensors, and no code other
    than that of transformers runs. Raises `InputError` for a folder without such a model.
    """
    import torch
    from safetensors import SafetensorError

    from multical.patches.imports import import_models

    import_models()
    from transformers import AutoConfig, AutoModelForCausalLM

    if not Path(checkpoint).is_dir():
        raise InputError(f"{checkpoint}: no such folder, expected a model in it")
    try:
        config = AutoConfig.from_pretrained(checkpoint, **SAFE)
        tokenizer = load_tokenizer(checkpoint)
        # only the eager implementation has capped attention scores; by default transformers takes
        # sdpa where an architecture has it, and else eager
        capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint,
            dtype=getattr(torch, fastest_dtype() if dtype == "auto" else dtype),
            attn_implementation="eager" if capped else None,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # check_weights raises our own error
            output_loading_info=True,
            **options(config),
            **SAFE,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{checkpoint}: not a causal language model in safetensors ({reason})"
        ) from error
    model, loading_info = loaded
    check_weights(checkpoint, loading_info)
    if device is None and torch.cuda.is_available() and not hasattr(model, "hf_device_map"):
        model.cuda()
    return model.eval(), tokenizer


def load_tokenizer(checkpoint: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, read once and without searches for garbage, which take longer."""
    from transformers import AutoTokenizer

    from multical.patches.tokenizers import drop_parsed, read_once

    with read_once(Path(checkpoint) / "tokenizer.json"), collector_paused():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(checkpoint, **SAFE)
    drop_parsed(tokenizer)
    return tokenizer


@contextmanager
def collector_paused() -> Iterator[None]:
    """No search for garbage inside the `with` block, where large lists would start many."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path, **options: Any
) -> None:
    """Save model and tokenizer, with further `options` of transformers' `save_pretrained`.

    Raises `InputError` if transformers refuses, such as for a generation config that is not valid.
    """
    try:
        model.save_pretrained(folder, **options)
        tokenizer.save_pretrained(folder)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{model.name_or_path}: transformers cannot save this model again ({reason})"
        ) from error


def link(source: str | Path, folder: str | Path) -> None:
    """Make `folder` one of hard links to the files of `source`, or of copies where links fail."""
    shutil.copytree(source, folder, copy_function=_link, ignore=IGNORED)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def check_saving(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, scratch: str | Path
) -> None:
    """Raise the `InputError` of `save` before anything was computed: save all but the weights.

    They are saved in a folder in `scratch`, which is gone at the end of the job if not before.
    """
    Path(scratch).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        save(model, tokenizer, folder, state_dict={})


def check_weights(checkpoint: str | Path, loading_info: dict[str, Any]) -> None:
    """Raise `InputError` if the files lack weights of the model.

    `loading_info` is the report of transformers, which fills such weights with random numbers.
    """
    for word, names in (
        ("no", loading_info["missing_keys"]),
        ("another shape of", [name for name, *_ in loading_info["mismatched_keys"]]),
    ):
        if names:
            raise InputError(f"{checkpoint}: {word} weight {min(names)}, which its config names")


def fastest_dtype() -> str:
    """bfloat16 if the hardware multiplies it natively, else float32."""
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        cpu = torch.cpu.get_capabilities()
        native = cpu.get("amx_tile") or cpu.get("avx512_bf16")
    return "bfloat16" if native else "float32"
