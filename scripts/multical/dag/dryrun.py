"""What Snakemake would run for a target, and why, from a dry run inside this process."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from multical.config import files
from multical.dag.edits import Edits, decoded
from multical.dag.reasons import first_few, has_outputs, own_reasons, rerun_makers
from multical.errors import InputError
from multical.patches.snakemake import is_localrule, workflow_of

WIDTH = 96
#: How many runs of a rule are named at most, and how many rules that follow from a reason
NAMED = 4


@dataclass(frozen=True)
class Job:
    """A job that would run."""

    rule: str
    wildcards: dict[str, str]
    local: bool  # it runs beside Snakemake; otherwise it is submitted to the cluster
    gpus: int
    limit: float | None  # time limit in seconds, with a profile that submits jobs
    record: str | None  # its benchmark file
    made: bool  # all its outputs exist, even if they are out of date
    reasons: tuple[str, ...]  # why it runs, apart from jobs that make its inputs again
    after: tuple[int, ...]  # the positions of those jobs in the list of all jobs
    mem_mb: int = 0
    threads: int = 1


@dataclass(frozen=True)
class DryRun:
    """The jobs of a target, each after those that make its inputs."""

    jobs: list[Job]
    settings: Callable[[str], dict[str, Any] | None]  # of an output when it was made, if known


def run(
    targets: str | Sequence[str] | None, profile: str | None, command: Sequence[str] = ()
) -> DryRun:
    """The jobs that would run for targets now; raises what `opened` raises."""
    with opened(targets, profile, command) as (workflow, remote):
        return DryRun(_jobs(workflow, remote), lambda path: _settings(workflow, path))


@contextlib.contextmanager
def opened(
    targets: str | Sequence[str] | None, profile: str | None, command: Sequence[str] = ()
) -> Iterator[tuple[Any, bool]]:
    """Snakemake's workflow after a dry run for targets, and whether it would submit jobs.

    Without targets, the default target is taken. `command` is a command line that may add to the
    config. No lock is taken, so another Snakemake may run in the folder. Raises `InputError`
    where Snakemake refuses: an unknown target, a missing input, a wrong profile or config.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import CliException, MissingRuleException, RuleException
    from snakemake.settings import types
    from snakemake_interface_common.exceptions import ApiError, WorkflowError
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    targets = [targets] if isinstance(targets, str) else list(targets or ())
    args = _arguments(targets, profile)
    output = types.OutputSettings(
        dryrun=True, log_level_override=logging.CRITICAL, enable_file_logging=False
    )
    try:
        remote = not ExecutorPluginRegistry().get_plugin(args.executor).common_settings.local_exec
        with SnakemakeApi(output) as api:
            workflow_api = api.workflow(
                config_settings=files.settings(command),
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
                    targets=set(targets), force_incomplete=True, rerun_triggers=args.rerun_triggers
                )
            ).execute_workflow(
                executor=args.executor,
                pseudo_executor="dryrun",
                execution_settings=types.ExecutionSettings(lock=False),
            )
            yield workflow_of(workflow_api), remote
    except MissingRuleException as error:
        raise InputError(
            f"{first_few(targets)}: no rule makes it, expected a file of a study"
        ) from error
    except (WorkflowError, RuleException, CliException, ApiError) as error:
        place = first_few(targets) or "dry run"
        raise InputError(f"{place}: {' '.join(str(error).split())}") from error


def _arguments(targets: list[str], profile: str | None) -> Any:
    """Snakemake's parsed arguments for a dry run with a profile."""
    from snakemake import cli
    from snakemake.exceptions import CliException

    options = [] if profile is None else ["--profile", profile]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            _, args = cli.parse_args([*options, "--dry-run", "--", *targets])
    except (SystemExit, CliException) as error:
        lines = [
            *printed.getvalue().splitlines(),
            "" if isinstance(error, SystemExit) else str(error),
        ]
        last = [line for line in lines if line.strip()][-1]
        reason = re.split(r"\b(?:Input)?[Ee]rror: ", last)[-1]
        raise InputError(f"profile {profile}: {reason}") from error
    args.executor = args.executor or "local"
    return args


def ordered(dag: Any, jobs: set[Any]) -> list[Any]:
    """The jobs of a DAG that run something, each after the jobs that make its inputs."""

    def name(job: Any) -> tuple[str, Any]:
        return job.rule.name, sorted(job.wildcards_dict.items())

    layers = dag.toposorted(jobs)
    return [job for layer in layers for job in sorted(layer, key=name) if not job.rule.norun]


def _jobs(workflow: Any, remote: bool) -> list[Job]:
    dag, edits = workflow.dag, Edits(workflow)
    jobs = ordered(dag, set(dag.needrun_jobs(exclude_finished=False)))
    positions = {job: position for position, job in enumerate(jobs)}
    return [
        Job(
            rule=job.rule.name,
            wildcards=dict(job.wildcards_dict),
            local=not remote or is_localrule(job.rule),
            gpus=_gpus(job.resources),
            limit=60 * job.resources.get("runtime", 0) or None if remote else None,
            record=None if job.benchmark is None else str(job.benchmark),
            made=has_outputs(job, all),
            reasons=tuple(own_reasons(workflow, job, edits))
            or (() if rerun_makers(dag, job) else (str(dag.reason(job)),)),
            after=tuple(sorted(positions[maker] for maker in rerun_makers(dag, job))),
            mem_mb=int(job.resources.get("mem_mb", 0)),
            threads=job.threads,
        )
        for job in jobs
    ]


def _gpus(resources: Any) -> int:
    """GPUs that a job requests, as `gpu` or as `gres` such as gpu:a100:1."""
    if gres := re.fullmatch(r"'?gpu(?::[\w.]+)*?(?::(\d+))?'?", str(resources.get("gres", ""))):
        return int(gres[1] or 1)
    return int(resources.get("gpu", 0))


def _settings(workflow: Any, path: str) -> dict[str, Any] | None:
    """The settings that an output was made with, where Snakemake remembers them."""
    from snakemake.io import IOFile

    values = map(decoded, workflow.persistence.params(IOFile(path)) or ())
    return next((value for value in values if isinstance(value, dict)), None)


def explain(jobs: list[Job]) -> Iterator[str]:
    """A paragraph for each reason: the jobs that run for it, and the jobs that run after them."""
    causes: list[set[str]] = []  # the reasons of each job and of all jobs behind its inputs
    for job in jobs:
        causes.append(set(job.reasons).union(*(causes[position] for position in job.after)))
    for number, reason in enumerate(reasons(jobs)):
        if number:
            yield ""
        yield from _wrapped(reason, 2)
        yield from _wrapped(_by_rule([job for job in jobs if reason in job.reasons]), 6)
        pairs = zip(jobs, causes, strict=True)
        if later := [job for job, behind in pairs if reason in behind - set(job.reasons)]:
            yield from _wrapped(f"then {_by_rule(later, NAMED)}", 6)


def reasons(jobs: list[Job]) -> list[str]:
    """The reasons of some jobs, each once."""
    return list(dict.fromkeys(reason for job in jobs for reason in job.reasons))


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 job`, `2 jobs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _by_rule(jobs: list[Job], most: int | None = None) -> str:
    """The number of jobs of each rule, with their runs if they are few; `most` limits the rules."""
    rules: dict[str, list[Job]] = {}
    for job in jobs:
        rules.setdefault(job.rule, []).append(job)
    names = []
    for rule, members in list(rules.items())[:most]:
        runs = [job.wildcards["run"] for job in members if "run" in job.wildcards]
        of_runs = f" ({', '.join(runs)})" if 0 < len(runs) <= NAMED else ""
        names.append(f"{rule if len(members) == 1 else f'{len(members)} {rule}'}{of_runs}")
    others = len(jobs) - sum(map(len, list(rules.values())[:most]))
    return ", ".join(names) + (f" and {counted(others, 'other job')}" if others else "")


def _wrapped(text: str, indent: int) -> list[str]:
    """A text in lines of at most `WIDTH`; names and paths stay whole."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
