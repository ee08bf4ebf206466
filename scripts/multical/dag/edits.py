"""Which edits since a job ran make it stale: keys of the config, and parts of the code, by name.

The config and the code of then are those that multical.dag.snapshots kept; for code, git is asked
too. Whether a key matters to a job is tried: the job is given the config of now with the
value of then in that place, and the config of then with that of now.
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
from multical.dag import diff, history, snapshots
from multical.dag.diff import NONE, Path, differences, value_at, with_value
from multical.dag.snapshots import Settings, State
from multical.errors import InputError
from multical.params import canonical, validated
from multical.provenance import code_parts, fingerprint

FINGERPRINT = re.compile(r"[0-9a-f]{16}")
#: The program that a rule's shell command starts
PROGRAM = re.compile(r"python scripts/(\w+)\.py ")


@dataclass(frozen=True)
class Given:
    """What a job takes: parameters as Snakemake remembers them, and files.

    Parameters are without those that follow from others.
    """

    params: frozenset[str]
    inputs: frozenset[str]


#: What matters of it
View = Callable[[Given | None], Any]


@dataclass(frozen=True)
class ConfigEdits:
    """The edits of the config that matter to a job, and the files that it took without them."""

    told: list[str]
    inputs: frozenset[str]


class Unchecked(Config):
    """A config whose sections may not fit each other, as when one of two edits is put back."""

    @model_validator(mode="after")
    def _names_exist(self) -> Unchecked:
        return self


class Edits:
    """The edits since the jobs of a workflow ran."""

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow
        places = workflow.globals
        self._now = snapshots.settings(places["CONFIG"], places["CLAIMS"])
        self._loaded: dict[str, tuple[Any, Any] | InputError] = {}

    @cached_property
    def _states(self) -> list[State]:
        return snapshots.found()

    def of_config(self, job: Any, record: Any) -> ConfigEdits | None:
        """Those of the config since a job ran; `None` if the config of then is not known."""
        if record is None or record.params is None or record.input is None:
            return None
        params = frozenset(text for text in record.params if not follows(remembered(text)))
        then = Given(params, frozenset(record.input))
        kept = [state.settings for state in self._states]
        found = self._fitting(job, then, kept) or self._fitting(
            job, then, history.settings(record.starttime)
        )
        if found is None:
            return None
        return ConfigEdits(self._between(job, found[0]), found[1].inputs)

    def _fitting(
        self, job: Any, then: Given, known: list[Settings]
    ) -> tuple[Settings, Given] | None:
        """The first config under which a job takes what it took; the same parameters, at least."""
        pairs = [(settings, self._given(job, settings)) for settings in known]
        fitting = [(old, given) for old, given in pairs if given and given.params == then.params]
        return next((pair for pair in fitting if pair[1] == then), next(iter(fitting), None))

    def _between(self, job: Any, then: Settings, view: View = lambda given: given) -> list[str]:
        """The differences of the config of now to that of then which matter to a job."""
        return [
            f"{path[0]}: {diff.told(path[1:], *values)}"
            for path, *values in differences(then, self._now)
            if self._matters(job, then, path, view)
        ]

    def that_made(self, job: Any) -> list[str]:
        """The edits of the config since the last run without which there was no such job."""
        for state in self._states[:1]:
            if self._is_valid(state.settings) and self._given(job, state.settings) is None:
                return self._between(job, state.settings, lambda given: given is None)
        return []

    def _matters(self, job: Any, then: Settings, path: Path, view: View) -> bool:
        """Whether a difference alone makes one for a job.

        Where the config is invalid with that alone, what is around it is taken together.
        """
        for size in range(len(path), 0, -1):
            effects = []
            for base, other in ((self._now, then), (then, self._now)):
                mixed = with_value(base, path[:size], value_at(other, path[:size]))
                if self._is_valid(mixed):
                    effects.append(view(self._given(job, mixed)) != view(self._given(job, base)))
            if effects:
                return any(effects)
        return True

    def _given(self, job: Any, settings: Settings) -> Given | None:
        """What a job takes under a config; `None` if there is no such job."""
        from snakemake.exceptions import RuleException, WorkflowError

        loaded = self._load(settings)
        if isinstance(loaded, InputError):
            return None
        with self._config(*loaded):
            try:
                params = [
                    value(job.wildcards) if callable(value) else value for value in job.rule.params
                ]
                inputs = job.rule.expand_input(job.wildcards)[0]
            except (LookupError, InputError, WorkflowError, RuleException):
                return None
        told = frozenset(repr(value) for value in params if not follows(value))
        return Given(told, frozenset(map(str, inputs)))

    def _is_valid(self, settings: Settings) -> bool:
        return not isinstance(self._load(settings), InputError)

    def _load(self, settings: Settings) -> tuple[Any, Any] | InputError:
        """Config and claims, or what is wrong with them."""
        text = canonical(settings)
        if text not in self._loaded:
            try:
                config = validated(Unchecked, settings["config.yaml"], "config")
                claims = validated(Claims, settings["claims.yaml"], "claims.yaml")
                self._loaded[text] = config, claims
            except InputError as error:
                self._loaded[text] = error
        return self._loaded[text]

    @contextmanager
    def _config(self, config: Any, claims: Any) -> Iterator[None]:
        """Let the functions of the rules see another config."""
        places = self._workflow.globals
        now = {name: places[name] for name in ("CONFIG", "CLAIMS")}
        try:
            places.update(CONFIG=config, CLAIMS=claims)
            yield
        finally:
            places.update(now)

    def of_code(self, script: str, then: str, when: float | None) -> list[str]:
        """Those of a program's code since it had a fingerprint, `when` it was started."""
        since = ""
        for state in self._states:
            if state.programs.get(script) == then:
                old = state.code
                break
        else:
            found = history.code(script, then, when)
            if found is None:
                return [f"code of scripts/{script}.py changed; the old code is not known"]
            old, since = found[0], f", since commit {found[1]}"
        told = [*_files(script, old), *_libraries(script, old)]
        if not told:
            told = [f"code of scripts/{script}.py changed, none of its parts by itself"]
        return [f"{one}{since}" for one in told]


def _files(script: str, old: snapshots.Code) -> Iterator[str]:
    names = set(fingerprint.modules(script))
    for name, parts in snapshots.code(names).files.items():
        if (then := old.files.get(name)) is None:
            yield f"scripts/{name}: a new file"
        elif told := code_parts.compared(then, parts):
            yield f"scripts/{name}: {told}"


def _libraries(script: str, old: snapshots.Code) -> Iterator[str]:
    lock = fingerprint.read_lock(fingerprint.LOCK)
    for library in sorted(fingerprint.libraries(script)):
        if lock[library] != old.lock.get(library):
            told = diff.told((library,), old.lock.get(library, NONE), lock[library])
            yield f"envs/requirements.lock: {told}"


def remembered(text: str) -> Any:
    """A parameter from the form in which Snakemake remembers it: settings as a dict."""
    try:
        value = ast.literal_eval(text)
        return json.loads(value) if isinstance(value, str) and value[:1] == "{" else value
    except (ValueError, SyntaxError):
        return text


def follows(value: Any) -> bool:
    """Whether a parameter follows from others: the fingerprint, or a scratch folder's name."""
    return isinstance(value, str) and bool(FINGERPRINT.fullmatch(value) or "/scratch/" in value)
