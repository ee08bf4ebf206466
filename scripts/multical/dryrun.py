"""What Snakemake would run for a target, and why, from a dry run inside this process.

Reasons are taken from Snakemake's DAG and from what it remembers of each output
(`.snakemake/metadata`), not from the text that it prints.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from multical import studies
from multical.costs import Settings
from multical.errors import InputError

FINGERPRINT = re.compile(r"[0-9a-f]{16}")
#: Settings that a job takes from a section of its study, for their full names
SECTIONS: dict[str, tuple[str, type[BaseModel]]] = {
    "train_sft": ("training", studies.Training),
    "score_run": ("scoring", studies.Scoring),
    "score_api": ("scoring", studies.ApiScoring),
    "compute_metrics": ("metrics", studies.Metrics),
    "bin_reliability": ("metrics", studies.Metrics),
    "compute_culture": ("metrics", studies.Metrics),
}
#: At most so many files or names in a reason
SHOWN = 3
#: Longest text of a value in a reason
LONGEST = 60

#: Says more of a code change: rule, fingerprint of then, time of then (seconds from 1970)
Explain = Callable[[str, str, float | None], str]


@dataclass(frozen=True)
class Job:
    """A job that would run."""

    rule: str
    wildcards: dict[str, str]
    local: bool  # beside Snakemake; else submitted
    gpus: int
    limit: float | None  # seconds that it may take, where it is submitted
    record: str | None  # its benchmark file
    made: bool  # all its outputs are there, if out of date
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class DryRun:
    """The jobs of a target, and what Snakemake remembers."""

    jobs: list[Job]
    remembered: Callable[[str], Settings | None]  # settings that an output was made with


def run(target: str, profile: str | None, explain: Explain) -> DryRun:
    """What would run for `target`, here and now; `opened` says what it raises."""
    with opened(target, profile) as (workflow, remote):
        return DryRun(_jobs(workflow, remote, explain), lambda path: _settings(workflow, path))


@contextlib.contextmanager
def opened(target: str, profile: str | None) -> Iterator[tuple[Any, bool]]:
    """Snakemake's workflow after a dry run for `target`, and whether it submits jobs.

    Takes no lock, and needs none: a driver may be at work. Raises `InputError` where
    Snakemake refuses: an unknown target, a missing input, a wrong profile or config.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import CliException, MissingRuleException, RuleException
    from snakemake.settings import types
    from snakemake_interface_common.exceptions import ApiError, WorkflowError
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    args = _arguments(target, profile)
    output = types.OutputSettings(
        dryrun=True, log_level_override=logging.CRITICAL, enable_file_logging=False
    )
    try:
        remote = not ExecutorPluginRegistry().get_plugin(args.executor).common_settings.local_exec
        with SnakemakeApi(output) as api:
            workflow_api = api.workflow(
                resource_settings=types.ResourceSettings(
                    cores=args.cores or 1,
                    nodes=args.jobs,
                    overwrite_threads=args.set_threads,
                    overwrite_resources=args.set_resources,
                    default_resources=args.default_resources,
                ),
                storage_settings=types.StorageSettings(),
            )
            workflow_api.dag(
                types.DAGSettings(
                    targets={target}, force_incomplete=True, rerun_triggers=args.rerun_triggers
                )
            ).execute_workflow(
                executor=args.executor,
                pseudo_executor="dryrun",
                execution_settings=types.ExecutionSettings(lock=False),
            )
            yield workflow_api._workflow, remote
    except MissingRuleException as error:
        raise InputError(f"{target}: no rule makes it, expected a file of a study") from error
    except (WorkflowError, RuleException, CliException, ApiError) as error:
        raise InputError(f"{target}: {' '.join(str(error).split())}") from error


def _arguments(target: str, profile: str | None) -> Any:
    """Snakemake's own arguments for a dry run with a profile."""
    from snakemake import cli
    from snakemake.exceptions import CliException

    chosen = [] if profile is None else ["--profile", profile]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _, args = cli.parse_args([*chosen, "--dry-run", "--", target])
    except (SystemExit, CliException) as error:
        lines = [*said.getvalue().splitlines(), "" if isinstance(error, SystemExit) else str(error)]
        last = [line for line in lines if line.strip()][-1]
        reason = re.split(r"\b(?:Input)?[Ee]rror: ", last)[-1]
        raise InputError(f"profile {profile}: {reason}") from error
    args.executor = args.executor or "local"
    return args


def _jobs(workflow: Any, remote: bool, explain: Explain) -> list[Job]:
    """The jobs that would run, what is made from others after them."""
    needed = set(workflow.dag.needrun_jobs(exclude_finished=False))
    ordered = (
        job
        for layer in workflow.dag.toposorted(needed)
        for job in sorted(
            layer, key=lambda job: (job.rule.name, sorted(job.wildcards_dict.items()))
        )
    )
    return [
        Job(
            rule=job.rule.name,
            wildcards=dict(job.wildcards_dict),
            local=not remote or job.rule.norun or job.rule.name in workflow._localrules,
            gpus=_gpus(job.resources),
            limit=60 * job.resources.get("runtime", 0) or None if remote else None,
            record=None if job.benchmark is None else str(job.benchmark),
            made=_made(job, all),
            reasons=tuple(reasons(workflow, job, explain)),
        )
        for job in ordered
        if not job.rule.norun
    ]


def _made(job: Any, which: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether any or all outputs of a job are there; true of a job without outputs."""
    return not job.output or which(Path(file).exists() for file in job.output)


def _gpus(resources: Any) -> int:
    """GPUs that a job asks for: `gpu`, or `gres` as in gpu:a100:1."""
    if gres := re.fullmatch(r"'?gpu(?::[\w.]+)*?(?::(\d+))?'?", str(resources.get("gres", ""))):
        return int(gres[1] or 1)
    return int(resources.get("gpu", 0))


def _settings(workflow: Any, path: str) -> Settings | None:
    """The settings that an output was made with, where Snakemake remembers them."""
    from snakemake.io import IOFile

    for value in map(remembered, workflow.persistence.params(IOFile(path)) or ()):
        if isinstance(value, dict):
            return value
    return None


def remembered(text: str) -> Any:
    """A parameter from the form in which Snakemake remembers it: settings as a dict."""
    try:
        value = ast.literal_eval(text)
        return json.loads(value) if isinstance(value, str) and value[:1] == "{" else value
    except (ValueError, SyntaxError):
        return text


def reasons(workflow: Any, job: Any, explain: Explain) -> Iterator[str]:
    """Why a job would run, in plain words, the first cause first."""
    reason, dag = workflow.dag.reason(job), workflow.dag
    again = set(reason.updated_input_run)
    if reason.missing_output or not _made(job, any):
        yield "output missing"
        return  # all else is of no matter
    if reason.forced:  # as force_incomplete has it
        yield "output incomplete: the job that makes it was cut off, or is at work"
    # Snakemake itself looks at parameters only where it has found no other reason
    if change := reason.params_changed or workflow.persistence.params_changed(job):
        yield from _params_changed(workflow, job, change, explain)
    if changed := set(reason.updated_input) - again:
        yield f"input changed: {listed(map(str, changed))}"
    if reason.input_changed:
        then, now = set(workflow.persistence.input(job.output[0]) or ()), set(map(str, job.input))
        moved = [f"+{name}" for name in sorted(now - then)]
        yield f"other inputs: {listed([*moved, *(f'-{name}' for name in sorted(then - now))])}"
    if reason.code_changed:
        yield "code changed: the rule's shell command"
    if reason.software_stack_changed:
        yield "software changed: envs/environment.yaml"
    if again:
        makers = [dep for dep, files in dag.dependencies[job].items() if files & again]
        yield f"made from: {_named(makers)}"


def _params_changed(workflow: Any, job: Any, change: Any, explain: Explain) -> Iterator[str]:
    """Changes of settings and of code."""
    old, new = (
        [remembered(text) for text in texts] for texts in (change.only_old, change.only_new)
    )
    before, after = ([v for v in values if isinstance(v, dict)] for values in (old, new))
    if len(before) == len(after) == 1:
        section, model = SECTIONS.get(job.rule.name, ("", None))
        known = model.model_fields if model else {}
        yield "settings changed: " + "; ".join(
            f"{section}.{text}" if text.split()[0] in known else text
            for text in differences(before[0], after[0])
        )
    elif before or after:
        yield "settings changed"
    codes = [value for value in old if isinstance(value, str) and FINGERPRINT.fullmatch(value)]
    for code in codes:
        when = workflow.persistence.metadata(job.output[0]).starttime
        yield f"code changed{explain(job.rule.name, code, when)}"
    others = [
        [value for value in values if not isinstance(value, dict) and not _told(value)]
        for values in (old, new)
    ]
    if any(others):
        yield "parameters changed: " + " -> ".join(shown(values) for values in others)


def _told(value: Any) -> bool:
    """Whether a parameter follows from others: the fingerprint, or a scratch folder's name."""
    return isinstance(value, str) and bool(FINGERPRINT.fullmatch(value) or "/scratch/" in value)


def _named(jobs: list[Any]) -> str:
    """Jobs by rule, and that they run again."""
    counts = Counter(job.rule.name for job in jobs)
    rules = listed(rule if count == 1 else f"{count} {rule}" for rule, count in counts.items())
    return f"{rules}, which {'runs' if len(jobs) == 1 else 'run'} again"


def differences(before: Settings, after: Settings, path: str = "") -> Iterator[str]:
    """What differs between two settings, key by key: `languages +am`, `steps 2 -> 4`."""
    for key in sorted({*before, *after}):
        old, new = before.get(key, ...), after.get(key, ...)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{path}{key}.")
        elif old is ... or new is ... or json.dumps(old) != json.dumps(new):
            yield f"{path}{key} {_change(old, new)}"


def _change(old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        moved = [f"+{shown(value)}" for value in new if value not in old]
        moved += [f"-{shown(value)}" for value in old if value not in new]
        if moved:
            return " ".join(moved)
    return f"{_cut(shown(old))} -> {_cut(shown(new))}"


def shown(value: Any) -> str:
    """A value as in a config; `...` where there is none."""
    if isinstance(value, str) and re.fullmatch(r"[\w.-]+", value):
        return value
    return "..." if value is ... else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def listed(names: Iterable[str]) -> str:
    """The first few names, sorted, and how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - SHOWN
    return ", ".join(ordered[:SHOWN]) + (f" and {more} more" if more > 0 else "")
