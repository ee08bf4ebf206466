"""Model folders: ordinary safetensors checkpoints, each listed file by file in a manifest.

    FOLDER/manifest.json   what rules depend on: small, so that it counts by content
    FOLDER/checkpoint/     config, tokenizer and weights, as transformers writes them

A checkpoint is loaded only if it is the one that its manifest lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multical.errors import InputError
from multical.files import sha256, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Code comes from transformers alone, files from this machine
SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def write_manifest(path: str | Path, checkpoint: str | Path, about: dict[str, Any]) -> None:
    """List the files of `checkpoint` with size and SHA-256, beside what is said of it."""
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
    """The checkpoint folder beside `manifest`, each file compared with it.

    Without `contents` only the sizes are compared: for those who know that another did more.
    Raises `InputError` naming the first file that is missing or differs.
    """
    manifest = Path(manifest)
    checkpoint = manifest.parent / "checkpoint"
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        listed = {name: (about["bytes"], about["sha256"]) for name, about in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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
    """Load model (evaluation mode) and tokenizer of a folder.

    `dtype` is a torch type by name, or `auto` as `fastest_dtype` has it; `device` is where
    the model is put, by default the GPU if there is one. `options` gives further arguments of
    transformers' `from_pretrained` for the model's configuration.
    Weights come from safetensors only, code from transformers only.
    Raises `InputError` for a folder that holds no such model.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if not Path(checkpoint).is_dir():
        raise InputError(f"{checkpoint}: no such folder, expected a model in it")
    try:
        config = AutoConfig.from_pretrained(checkpoint, **SAFE)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, **SAFE)
        # a capped attention score exists in the eager implementation only
        capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint,
            dtype=getattr(torch, fastest_dtype() if dtype == "auto" else dtype),
            attn_implementation="eager" if capped else "sdpa",
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # refused below
            output_loading_info=True,
            **options(config),
            **SAFE,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{checkpoint}: not a causal language model in safetensors ({reason})"
        ) from error
    model, found = loaded
    check_weights(checkpoint, found)
    if device is None and torch.cuda.is_available():
        model.cuda()
    return model.eval(), tokenizer


def check_weights(checkpoint: str | Path, found: dict[str, Any]) -> None:
    """Raise `InputError` for weights that a model needs and its file lacks.

    `found` is what transformers reports of loading: it draws such weights at random.
    """
    for word, names in (
        ("no", found["missing_keys"]),
        ("another shape of", [name for name, *_ in found["mismatched_keys"]]),
    ):
        if names:
            raise InputError(f"{checkpoint}: {word} weight {min(names)}, which its config names")


def fastest_dtype() -> str:
    """bfloat16 where the hardware multiplies it natively, else float32."""
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        cpu = torch.cpu.get_capabilities()
        native = cpu.get("amx_tile") or cpu.get("avx512_bf16")
    return "bfloat16" if native else "float32"
