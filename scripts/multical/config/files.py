"""Read the config: config.yaml, the files it includes, one's own file, and the command line.

If several places set a key, `--config KEY=VALUE` overrides `--configfile FILE`, which overrides
config.yaml, which overrides the included files. Two included files must not disagree. One's own
file, which git ignores, adds entries to those of all other files.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from multical import yaml_files
from multical.config import schema
from multical.config.schema import INCLUDE, Config
from multical.errors import InputError

ENTRY = "config.yaml"
#: Entries of one's own, if the file exists
LOCAL = "config/local.yaml"
LEVELS = "resource_levels"

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


def check_first(folder: str | Path) -> None:
    """Check what Snakemake cannot take: its folders, and config.yaml before it reads that.

    Snakemake fills in braces of paths, ends with a traceback where a file is not UTF-8 or a folder
    is a link to nowhere, and would run code in config.yaml. Raises `InputError`.
    """
    for path in map(str, (folder, Path.cwd())):
        if "{" in path or "}" in path:
            raise InputError(f"{path}: found braces, expected a folder without them in its path")
    for link in map(Path, ("results", "logs")):
        if link.is_symlink() and not link.is_dir():
            raise InputError(f"{link}: found a link to {link.readlink()}, expected one to a folder")
    if Path(ENTRY).exists():
        yaml_files.mapping(ENTRY)


def add_included(config: Data, folder: Path = Path(), read: Sequence[str | Path] = ()) -> list[str]:
    """Replace `include` in `config` by the content of the files it lists, and add one's own file.

    `read` are the files that Snakemake read `config` from. Returns the names of the other files.
    Raises `InputError` for an unreadable file, for a key twice in a file, if two included files
    disagree, and if one's own file has an entry of another file.
    """
    for file in read:
        yaml_files.mapping(os.path.relpath(file))
    names = config.pop(INCLUDE, [])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(f"{ENTRY}: {INCLUDE}: found {names!r}, expected a list of files")
    contents: dict[str, Data] = {}
    included: Data = {}
    for name in names:
        contents[name] = _part(folder, name)
        clashes: list[str] = []
        included = _merged(included, contents[name], clashes)
        for key in clashes:
            other = next(file for file, content in contents.items() if _values(content, key))
            raise InputError(f"{name}: {key}: found another value than in {other}, expected one")
    config.update(_merged(config, included, []))
    if not (folder / LOCAL).exists():
        return names
    if (folder / ENTRY).exists():
        contents[ENTRY] = yaml_files.mapping(folder / ENTRY)
    _add_own(config, _part(folder, LOCAL), contents)
    return [*names, LOCAL]


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
            if values and _values(yaml_files.mapping(file), key) == values:
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


def repeated(command: Sequence[str]) -> list[str]:
    """The options for the config of a Snakemake command, for another one."""
    args, _ = options().parse_known_args(command)
    return [
        *(["--configfile", *args.configfile] if args.configfile else []),
        *(["--config", *args.config] if args.config else []),
    ]


def settings(command: Sequence[str]) -> Any:
    """Snakemake's `ConfigSettings` of a command line; raises `InputError` if it is wrong."""
    from snakemake.cli import parse_config
    from snakemake.settings.types import ConfigSettings
    from snakemake_interface_common.exceptions import WorkflowError

    args, _ = options().parse_known_args(command)
    for file in args.configfile:
        yaml_files.mapping(file)  # Snakemake would keep the last of two equal keys
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
        return yaml_files.mapping(folder / ENTRY)  # saves the import of Snakemake, which is slow
    added = settings(command)
    is_needed = (folder / ENTRY).exists() or not added.configfiles
    return _merged(
        added.overwrite_config, yaml_files.mapping(folder / ENTRY) if is_needed else {}, []
    )


def _part(folder: Path, name: str) -> Data:
    """The content of a file that adds to config.yaml."""
    content: Data = yaml_files.mapping(folder / name)
    if INCLUDE in content:
        raise InputError(f"{name}: {INCLUDE}: expected this key only in {ENTRY}")
    return content


def _add_own(config: Data, own: Data, contents: dict[str, Data]) -> None:
    """Add the content of one's own file to the config, which came from files of other contents."""
    for file, content in contents.items():
        for key in _shared(own, content):
            raise InputError(f"{LOCAL}: {key}: is in {file} too, expected a name of one's own")
    for level, languages in _levels(config).items():
        languages += _levels(own).get(level, [])
    config.update(_merged(config, own, []))


def _shared(own: Data, other: Data) -> Iterator[str]:
    """The entries and languages, or else the keys of the first level, that both contents have."""
    for key in [key for key in own if key in other]:
        mine, theirs = own[key], other[key]
        if not (isinstance(mine, dict) and isinstance(theirs, dict)):
            yield key
        elif key == LEVELS:
            listed = [name for names in _levels(other).values() for name in names]
            yield from (
                f"{key}: {name!r}"
                for names in _levels(own).values()
                for name in names
                if name in listed
            )
        else:
            yield from (f"{key}.{name}" for name in mine if name in theirs)


def _levels(data: Data) -> dict[str, list[Any]]:
    """The lists of languages by level, as far as they are lists, in a new mapping."""
    levels = data.get(LEVELS)
    items = levels.items() if isinstance(levels, dict) else []
    return {level: names for level, names in items if isinstance(names, list)}


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
