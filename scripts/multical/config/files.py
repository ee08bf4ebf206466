"""Read the config: config.yaml, the files it includes, and options of the command line.

If several places set a key, `--config KEY=VALUE` overrides `--configfile FILE`, which overrides
config.yaml, which overrides the included files. Two included files must not disagree.
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
#: Entries of one's own, if the file exists
LOCAL = "config/local.yaml"

Data = dict[str, Any]


def load(command: Sequence[str] = ()) -> Config:
    """The checked config of the current folder, with the config options of a Snakemake command.

    Raises `InputError` for an unreadable file and for a wrong value.
    """
    config = _entry(Path(), command)
    return checked(config, add_included(config))


def read(command: Sequence[str] = (), folder: Path = Path()) -> Data:
    """The config of any folder as plain data, with the same options, unchecked."""
    config = _entry(folder, command)
    add_included(config, folder)
    return config


def add_included(config: Data, folder: Path = Path()) -> list[str]:
    """Replace `include` in `config` by the content of the files it lists; return their names.

    Raises `InputError` for an unreadable file, and if two files disagree.
    """
    names = config.pop(INCLUDE, [])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(f"{ENTRY}: {INCLUDE}: found {names!r}, expected a list of files")
    if (folder / LOCAL).exists():
        names = [*names, LOCAL]
    contents: dict[str, Data] = {}
    included: Data = {}
    for name in names:
        contents[name] = _mapping(folder / name)
        if INCLUDE in contents[name]:
            raise InputError(f"{name}: {INCLUDE}: expected this key only in {ENTRY}")
        clashes: list[str] = []
        included = _merged(included, contents[name], clashes)
        for key in clashes:
            other = next(file for file, content in contents.items() if _values(content, key))
            raise InputError(f"{name}: {key}: found another value than in {other}, expected one")
    config.update(_merged(config, included, []))
    return names


def checked(config: Data, included: Sequence[str] = ()) -> Config:
    """Check the whole config. `included` are the files that parts of it come from.

    Raises `InputError` with the first wrong key, and with its file if one of them has the key.
    """
    try:
        return schema.load(config)
    except InputError as error:
        sentence = str(error).removeprefix("config: ")
        key = sentence.partition(": ")[0].partition(",")[0]
        values = _values(config, key)
        for file in filter(Path.is_file, map(Path, [ENTRY, *included])):
            if values and _values(_mapping(file), key) == values:
                raise InputError(f"{file}: {sentence}") from error
        raise


def options() -> argparse.ArgumentParser:
    """A parent parser with Snakemake's options for the config."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for names, value in (
        (("--configfile", "--configfiles"), "FILE"),
        (("--config", "-C"), "KEY=VALUE"),
    ):
        parser.add_argument(*names, nargs="*", metavar=value, default=[], help="as in Snakemake")
    return parser


def settings(command: Sequence[str]) -> Any:
    """Snakemake's `ConfigSettings` of a command line; raises `InputError` if it is wrong."""
    from snakemake.cli import parse_config
    from snakemake.settings.types import ConfigSettings
    from snakemake_interface_common.exceptions import WorkflowError

    args, _ = options().parse_known_args(command)
    try:
        return ConfigSettings(
            config=parse_config(args.config),
            config_args=args.config,
            configfiles=[Path(file) for file in args.configfile],
        )
    except (OSError, ValueError, WorkflowError) as error:
        raise InputError(f"command line: {' '.join(str(error).split())}") from error


def _entry(folder: Path, command: Sequence[str]) -> Data:
    """config.yaml with the config options of a command line."""
    if not any(part.startswith(("--config", "-C")) for part in command):
        return _mapping(folder / ENTRY)  # saves the import of Snakemake, which is slow
    added = settings(command)
    is_needed = (folder / ENTRY).exists() or not added.configfiles
    return _merged(added.overwrite_config, _mapping(folder / ENTRY) if is_needed else {}, [])


def _mapping(file: Path) -> Data:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: not readable as YAML ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: found {type(content).__name__}, expected keys and values")
    return content


def _merged(first: Data, second: Data, clashes: list[str], at: str = "") -> Data:
    """Both mappings merged. Where they disagree, `first` wins and the key is added to `clashes`."""
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
    """The value at `keys`, which are joined by dots and may contain dots, or an empty list."""
    entries = dict(enumerate(data)) if isinstance(data, list) else data
    for name, value in entries.items() if isinstance(entries, dict) else ():
        if keys == str(name):
            return [value]
        if keys.startswith(f"{name}.") and (values := _values(value, keys[len(f"{name}.") :])):
            return values
    return []
