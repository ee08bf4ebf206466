"""The config from its files: config.yaml, those that it includes, and what a command line adds.

Where a key is given twice, `--config KEY=VALUE` goes before `--configfile FILE`, that before
config.yaml, and that before the included files, which must agree with each other.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from multical.config import schema
from multical.config.schema import INCLUDE, Config
from multical.errors import InputError

ENTRY = "config.yaml"

Data = dict[str, Any]


def load(command: Sequence[str] = ()) -> Config:
    """The config of this folder with what the arguments of a Snakemake command add to it.

    Raises `InputError` for a file that cannot be read, and for a wrong value.
    """
    config = _entry(Path(), command)
    return checked(config, add_included(config))


def read(command: Sequence[str] = (), folder: Path = Path()) -> Data:
    """The same of any folder as plain data, whose keys and values are not checked."""
    config = _entry(folder, command)
    add_included(config, folder)
    return config


def add_included(config: Data, folder: Path = Path()) -> list[str]:
    """Replace `include` in `config` by the content of the files it lists; return their names.

    Raises `InputError` for a file that cannot be read, and for two that do not agree.
    """
    names = config.pop(INCLUDE, [])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(f"{ENTRY}: {INCLUDE}: found {names!r}, expected a list of files")
    parts: dict[str, Data] = {}
    whole: Data = {}
    for name in names:
        parts[name] = _mapping(folder / name)
        if INCLUDE in parts[name]:
            raise InputError(f"{name}: {INCLUDE}: expected this key only in {ENTRY}")
        clashes: list[str] = []
        whole = _merged(whole, parts[name], clashes)
        for key in clashes:
            other = next(other for other, part in parts.items() if _values(part, key))
            raise InputError(f"{name}: {key}: found another value than in {other}, expected one")
    config.update(_merged(config, whole, []))
    return names


def checked(config: Data, included: Sequence[str] = ()) -> Config:
    """The whole config as its schema; `included` are the files that parts of it are from.

    Raises `InputError` naming the first key that is wrong, and its file where one has it.
    """
    try:
        return schema.load(config)
    except InputError as error:
        told = str(error).removeprefix("config: ")
        key = told.partition(": ")[0].partition(",")[0]
        found = _values(config, key)
        for file in filter(Path.is_file, map(Path, [ENTRY, *included])):
            if found and _values(_mapping(file), key) == found:
                raise InputError(f"{file}: {told}") from error
        raise


def options() -> argparse.ArgumentParser:
    """Snakemake's options that add to the config, as a parent of another parser."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for names, value in (
        (("--configfile", "--configfiles"), "FILE"),
        (("--config", "-C"), "KEY=VALUE"),
    ):
        parser.add_argument(*names, nargs="*", metavar=value, default=[], help="as of Snakemake")
    return parser


def settings(command: Sequence[str]) -> Any:
    """Snakemake's `ConfigSettings` of a command line; raises `InputError` for a wrong one."""
    from snakemake.cli import parse_config
    from snakemake.settings.types import ConfigSettings
    from snakemake_interface_common.exceptions import WorkflowError

    given, _ = options().parse_known_args(command)
    try:
        return ConfigSettings(
            config=parse_config(given.config),
            config_args=given.config,
            configfiles=[Path(file) for file in given.configfile],
        )
    except (OSError, ValueError, WorkflowError) as error:
        raise InputError(f"command line: {' '.join(str(error).split())}") from error


def _entry(folder: Path, command: Sequence[str]) -> Data:
    """config.yaml, with what a command line adds."""
    if not any(part.startswith(("--config", "-C")) for part in command):
        return _mapping(folder / ENTRY)  # without the time that Snakemake takes to load
    added = settings(command)
    own = _mapping(folder / ENTRY) if (folder / ENTRY).exists() or not added.configfiles else {}
    return _merged(added.overwrite_config, own, [])


def _mapping(file: Path) -> Data:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: not readable as YAML ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{file}: found {type(found).__name__}, expected keys and values")
    return found


def _merged(first: Data, second: Data, clashes: list[str], at: str = "") -> Data:
    """Both as one; where they do not agree, `first` counts, and the key is one of `clashes`."""
    both = dict(first)
    for key, value in second.items():
        if key not in first:
            both[key] = value
        elif isinstance(first[key], dict) and isinstance(value, dict):
            both[key] = _merged(first[key], value, clashes, f"{at}{key}.")
        elif first[key] != value:
            clashes.append(f"{at}{key}")
    return both


def _values(data: Any, keys: str) -> list[Any]:
    """The one value behind keys with dots between, which they may have inside too, or none."""
    entries = dict(enumerate(data)) if isinstance(data, list) else data
    for name, value in entries.items() if isinstance(entries, dict) else ():
        if keys == str(name):
            return [value]
        if keys.startswith(f"{name}.") and (found := _values(value, keys[len(f"{name}.") :])):
            return found
    return []
