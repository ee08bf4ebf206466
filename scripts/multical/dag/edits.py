"""Which edits since a job ran make it stale: keys of the config and parts of the code, by name.

The old config and code come from a snapshot (multical.dag.snapshots). To see whether a key matters
to a job, the job's parameters are computed under today's config with the key's old value, and under
the old config with today's value.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import model_validator

from multical.claims.schema import Claims
from multical.config.schema import Config
from multical.dag import snapshots
from multical.dag.diff import ABSENT, KeyPath, describe, differences, value_at, with_value
from multical.dag.snapshots import Settings, Snapshot
from multical.errors import InputError
from multical.params import canonical, validated
from multical.provenance import code_parts, fingerprint
from multical.workflow import own_files

FINGERPRINT = re.compile(r"[0-9a-f]{16}")
#: The program that a rule's shell command starts
PROGRAM = re.compile(r"python scripts/(\w+)\.py ")


@dataclass(frozen=True)
class Arguments:
    """What a job takes: parameters as Snakemake records them, without derived ones, and inputs."""

    params: frozenset[str]
    inputs: frozenset[str]


class Unchecked(Config):
    """A config whose sections need not fit each other, as when one of two edits is undone."""

    @model_validator(mode="after")
    def _names_exist(self) -> Unchecked:
        return self


class Edits:
    """The edits since the jobs of a workflow ran."""

    def __init__(self, workflow: Any) -> None:
        self._globals = workflow.globals
        self._now = snapshots.settings(self._globals["CONFIG"], self._globals["CLAIMS"])
        self._loaded: dict[str, tuple[Any, Any] | None] = {}

    @cached_property
    def _snapshots(self) -> list[Snapshot]:
        return snapshots.load_all()

    def of_config(self, job: Any, record: Any) -> tuple[list[str], set[str]] | None:
        """The config edits that matter to a job, and its inputs under the config before them.

        `None` if no snapshot has a config that gives the job the parameters on `record`.
        """
        params = frozenset(text for text in record.params or () if not is_derived(decoded(text)))
        inputs = frozenset(record.input or ())
        pairs = [(each.settings, self._arguments(job, each.settings)) for each in self._snapshots]
        fitting = [(then, taken) for then, taken in pairs if taken and taken.params == params]
        if not fitting:
            return None
        exact = [pair for pair in fitting if pair[1].inputs == inputs]
        then, taken = (exact or fitting)[0]
        return self._between(job, then), set(taken.inputs)

    def that_made(self, job: Any) -> list[str]:
        """The config edits since the last run that brought a job about; empty if none did."""
        for snapshot in self._snapshots[:1]:
            then = snapshot.settings
            if self._load(then) and self._arguments(job, then) is None:
                return self._between(job, then, lambda arguments: arguments is None)
        return []

    def _between(
        self,
        job: Any,
        then: Settings,
        aspect: Callable[[Arguments | None], Any] = lambda arguments: arguments,
    ) -> list[str]:
        """The config edits since `then` that change an aspect of a job's arguments."""
        return [
            f"{path[0]}: {describe(path[1:], *values)}"
            for path, *values in differences(then, self._now)
            if self._matters(job, then, path, aspect)
        ]

    def _matters(
        self, job: Any, then: Settings, path: KeyPath, aspect: Callable[[Arguments | None], Any]
    ) -> bool:
        """Whether the edit at `path`, by itself, changes an aspect of a job's arguments.

        If the config is invalid with that edit alone, the section around it is swapped as a whole.
        """
        for size in range(len(path), 0, -1):
            effects = []
            for base, other in ((self._now, then), (then, self._now)):
                mixed = with_value(base, path[:size], value_at(other, path[:size]))
                if self._load(mixed):
                    effects.append(
                        aspect(self._arguments(job, mixed)) != aspect(self._arguments(job, base))
                    )
            if effects:
                return any(effects)
        return True

    def _arguments(self, job: Any, settings: Settings) -> Arguments | None:
        """What a job takes under a config; `None` if there is no such job."""
        from snakemake.exceptions import RuleException, WorkflowError

        loaded = self._load(settings)
        if loaded is None:
            return None
        with self._config(*loaded):
            try:
                params = [
                    value(job.wildcards) if callable(value) else value for value in job.rule.params
                ]
                inputs = job.rule.expand_input(job.wildcards)[0]
            except (LookupError, InputError, WorkflowError, RuleException):
                return None
        texts = frozenset(repr(value) for value in params if not is_derived(value))
        return Arguments(texts, frozenset(map(str, inputs)))

    def _load(self, settings: Settings) -> tuple[Any, Any] | None:
        """Config and claims; `None` if they are invalid."""
        text = canonical(settings)
        if text not in self._loaded:
            try:
                config = validated(Unchecked, settings["config.yaml"], "config")
                claims = validated(Claims, settings["claims.yaml"], "claims.yaml")
                self._loaded[text] = config, claims
            except InputError:
                self._loaded[text] = None
        return self._loaded[text]

    @contextmanager
    def _config(self, config: Any, claims: Any) -> Iterator[None]:
        """Let the functions of the rules see another config, within."""
        now = {name: self._globals[name] for name in ("CONFIG", "CLAIMS")}
        try:
            self._globals.update(CONFIG=config, CLAIMS=claims)
            self._forget()
            with own_files.of_the_past():
                yield
        finally:
            self._globals.update(now)
            self._forget()

    def _forget(self) -> None:
        """Have functions of the rules that remember results of a config find them again."""
        for value in self._globals.values():
            remembers = hasattr(type(value), "cache_clear")  # of functools
            if remembers and value.__wrapped__.__globals__ is self._globals:
                value.cache_clear()

    def of_code(self, script: str, then: str) -> list[str]:
        """The edits of a program's code since it had the fingerprint `then`."""
        for snapshot in self._snapshots:
            if snapshot.programs.get(script) == then:
                return [*_files(script, snapshot.code), *_libraries(script, snapshot.code)] or [
                    f"code of scripts/{script}.py changed, none of its parts by itself"
                ]
        return [f"code of scripts/{script}.py changed; the old code is not known"]


def _files(script: str, old: snapshots.Code) -> Iterator[str]:
    for name, parts in snapshots.code(fingerprint.modules(script)).files.items():
        if name not in old.files:
            yield f"scripts/{name}: a new file"
        elif change := code_parts.describe(old.files[name], parts):
            yield f"scripts/{name}: {change}"


def _libraries(script: str, old: snapshots.Code) -> Iterator[str]:
    lock = fingerprint.read_lock(fingerprint.LOCK)
    for library in sorted(fingerprint.libraries(script)):
        if lock[library] != (then := old.lock.get(library, ABSENT)):
            yield f"envs/requirements.lock: {describe((library,), then, lock[library])}"


def decoded(text: str) -> Any:
    """A parameter from the text that Snakemake recorded; settings become a dict."""
    try:
        value = ast.literal_eval(text)
        return json.loads(value) if isinstance(value, str) and value[:1] == "{" else value
    except (ValueError, RecursionError, MemoryError, SyntaxError):
        return text


def is_derived(value: Any) -> bool:
    """Whether a parameter follows from code or other parameters: fingerprints, scratch folders."""
    return isinstance(value, str) and bool(FINGERPRINT.fullmatch(value) or "/scratch/" in value)
