"""What Snakemake would run for a target, and why, from a dry run inside this process.

Reasons are taken from Snakemake's DAG and from what it remembers of each output
(`.snakemake/metadata`), not from the text that it prints.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from multical.config import studies
from multical.dag.diff import differences, shown, told
from multical.dag.edits import FINGERPRINT, PROGRAM, Edits, follows, remembered
from multical.errors import InputError
from multical.files import sha256

#: Settings that a job takes from a section of its study, for their full names
SECTIONS: dict[str, tuple[str, type[BaseModel]]] = {
    "train_sft": ("training", studies.Training),
    "score_run": ("scoring", studies.Scoring),
    "score_api": ("scoring", studies.ApiScoring),
    "compute_metrics": ("metrics", studies.Metrics),
    "bin_reliability": ("metrics", studies.Metrics),
    "compute_culture": ("metrics", studies.Metrics),
    "compute_recalibration": ("metrics", studies.Metrics),
    "compute_effects": ("metrics", studies.Metrics),
    "fit_mixed_model": ("metrics", studies.Metrics),
}
#: At most so many names in a list
SHOWN = 3


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
    own_reasons: tuple[str, ...]
    made_from: tuple[str, ...]  # that jobs run again which make its inputs
    after: tuple[int, ...]  # these jobs, by their place among all

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.own_reasons + self.made_from


@dataclass(frozen=True)
class DryRun:
    """The jobs of a target, and what Snakemake remembers."""

    jobs: list[Job]
    remembered: Callable[[str], dict[str, Any] | None]  # settings that an output was made with


def run(target: str | None, profile: str | None) -> DryRun:
    """What would run for `target`, here and now; `opened` says what it raises."""
    with opened(target, profile) as (workflow, remote):
        jobs = _jobs(workflow, remote)
        return DryRun(jobs, lambda path: _settings(workflow, path))


@contextlib.contextmanager
def opened(targets: str | Sequence[str] | None, profile: str | None) -> Iterator[tuple[Any, bool]]:
    """Snakemake's workflow after a dry run for a target or more, and whether it submits jobs.

    Without a target it is the default one. Takes no lock, and needs none: a driver may be at
    work. Raises `InputError` where Snakemake refuses: an unknown target, a missing input, a
    wrong profile or config.
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
            yield workflow_api._workflow, remote
    except MissingRuleException as error:
        raise InputError(
            f"{listed(targets)}: no rule makes it, expected a file of a study"
        ) from error
    except (WorkflowError, RuleException, CliException, ApiError) as error:
        place = listed(targets) or "dry run"
        raise InputError(f"{place}: {' '.join(str(error).split())}") from error


def _arguments(targets: list[str], profile: str | None) -> Any:
    """Snakemake's own arguments for a dry run with a profile."""
    from snakemake import cli
    from snakemake.exceptions import CliException

    chosen = [] if profile is None else ["--profile", profile]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _, args = cli.parse_args([*chosen, "--dry-run", "--", *targets])
    except (SystemExit, CliException) as error:
        lines = [*said.getvalue().splitlines(), "" if isinstance(error, SystemExit) else str(error)]
        last = [line for line in lines if line.strip()][-1]
        reason = re.split(r"\b(?:Input)?[Ee]rror: ", last)[-1]
        raise InputError(f"profile {profile}: {reason}") from error
    args.executor = args.executor or "local"
    return args


def _jobs(workflow: Any, remote: bool) -> list[Job]:
    """The jobs that would run, what is made from others after them."""
    needed = set(workflow.dag.needrun_jobs(exclude_finished=False))
    ordered = [
        job
        for layer in workflow.dag.toposorted(needed)
        for job in sorted(
            layer, key=lambda job: (job.rule.name, sorted(job.wildcards_dict.items()))
        )
        if not job.rule.norun
    ]
    place, edits = {job: number for number, job in enumerate(ordered)}, Edits(workflow)
    return [
        Job(
            rule=job.rule.name,
            wildcards=dict(job.wildcards_dict),
            local=not remote or job.rule.norun or job.rule.name in workflow._localrules,
            gpus=_gpus(job.resources),
            limit=60 * job.resources.get("runtime", 0) or None if remote else None,
            record=None if job.benchmark is None else str(job.benchmark),
            made=_made(job, all),
            own_reasons=tuple(own_reasons(workflow, job, edits))
            or (() if again(workflow.dag, job) else (str(workflow.dag.reason(job)),)),
            made_from=tuple(made_from(workflow, job)),
            after=tuple(sorted(place[one] for one in again(workflow.dag, job))),
        )
        for job in ordered
    ]


def again(dag: Any, job: Any) -> list[Any]:
    """The jobs that run again and make inputs of a job."""
    files = set(dag.reason(job).updated_input_run)
    return [one for one, made in dag.dependencies[job].items() if made & files]


def _made(job: Any, which: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether any or all outputs of a job are there; true of a job without outputs."""
    return not job.output or which(Path(file).exists() for file in job.output)


def _gpus(resources: Any) -> int:
    """GPUs that a job asks for: `gpu`, or `gres` as in gpu:a100:1."""
    if gres := re.fullmatch(r"'?gpu(?::[\w.]+)*?(?::(\d+))?'?", str(resources.get("gres", ""))):
        return int(gres[1] or 1)
    return int(resources.get("gpu", 0))


def _settings(workflow: Any, path: str) -> dict[str, Any] | None:
    """The settings that an output was made with, where Snakemake remembers them."""
    from snakemake.io import IOFile

    for value in map(remembered, workflow.persistence.params(IOFile(path)) or ()):
        if isinstance(value, dict):
            return value
    return None


def reasons(workflow: Any, job: Any, edits: Edits) -> Iterator[str]:
    """Why a job would run, in plain words, the first cause first."""
    yield from own_reasons(workflow, job, edits)
    yield from made_from(workflow, job)


def made_from(workflow: Any, job: Any) -> Iterator[str]:
    """That jobs run again which make inputs of a job, if it ran before."""
    makers = again(workflow.dag, job)
    if makers and _ran(workflow, job):
        yield f"made from: {_named(makers)}"


def _ran(workflow: Any, job: Any) -> bool:
    """Whether a job ever ran, by its record or by an output."""
    return workflow.persistence.metadata(job.output[0]) is not None or _made(job, any)


def own_reasons(workflow: Any, job: Any, edits: Edits) -> Iterator[str]:
    """Why a job would run, in plain words, but that others run again."""
    reason, record = workflow.dag.reason(job), workflow.persistence.metadata(job.output[0])
    if not _ran(workflow, job):
        yield from edits.that_made(job) or ["output missing: never made"]
        return  # all else is of no matter
    if gone := [file for file in reason.missing_output if not Path(file).exists()]:
        yield _gone(workflow, job, gone)
    elif not _made(job, any):
        yield "output missing: it was made, and is gone"
    if reason.forced:  # as force_incomplete has it
        yield "output incomplete: the job that makes it was cut off, or is at work"
    unrecorded = {file for file in job.output if workflow.persistence.unrecorded(file)}
    if unrecorded:
        yield f"no record of how it was made: {listed(map(str, unrecorded))}"
    if record is None:
        newer = sorted(map(str, reason.updated_input - reason.updated_input_run))
        yield from (
            f"input newer: {name}; how the output was made is not recorded" for name in newer
        )
        return
    yield from _given_otherwise(workflow, job, record, edits)
    yield from _inputs_changed(job, record, reason)
    # Snakemake itself looks no further where it has found another reason
    if set(workflow.persistence.code_changed(job)) - unrecorded:
        then = workflow.persistence.code(job.output[0]) or ""
        yield f"shell command of {job.rule.name}: {_words(then, job.rule.shellcmd or '')}"
    if reason.software_stack_changed:
        yield "software changed: envs/environment.yaml"


def _gone(workflow: Any, job: Any, files: list[Any]) -> str:
    """That outputs are gone, or were none then; and who needs them if they were temporary."""
    if new := [file for file in files if workflow.persistence.metadata(file) is None]:
        return f"output missing: {listed(map(str, new))}, which {job.rule.name} did not make then"
    if any(is_temporary(file) for file in files):
        users = workflow.dag.depending[job].items()
        needing = [one for one, needed in users if needed & set(files)]
        return f"output missing: it was temporary, and is needed by {_named(needing)}"
    return "output missing: it was made, and is gone"


def is_temporary(file: Any) -> bool:
    """Whether Snakemake removes a file when all that needs it is made."""
    return bool(getattr(file, "flags", {}).get("temp"))


def _given_otherwise(workflow: Any, job: Any, record: Any, edits: Edits) -> Iterator[str]:
    """Changes of settings, files that are taken, and code."""
    change = workflow.persistence.params_changed(job)
    old, new = ([*map(remembered, texts)] for texts in (change.only_old, change.only_new))
    own = [[value for value in values if not follows(value)] for values in (old, new)]
    now, then = set(map(str, job.input)), set(record.input or ())
    if any(own) or now != then:
        known = edits.of_config(job, record)
        if known is not None and known.told:
            yield from known.told
        else:
            yield from _settings_changed(job.rule.name, *own)
        # those that no edit of the config explains
        before = now if known is None else set(known.inputs)
        yield from (f"input appeared: {name}" for name in sorted(before - then))
        yield from (f"input vanished: {name}" for name in sorted(then - before))
    codes = [value for value in old if isinstance(value, str) and FINGERPRINT.fullmatch(value)]
    if program := PROGRAM.search(job.rule.shellcmd or ""):
        for code in codes:
            yield from edits.of_code(program[1], code, record.starttime)


def _settings_changed(rule: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    """Changes of parameters, where the config of then is not known."""
    before, after = ([v for v in values if isinstance(v, dict)] for values in (old, new))
    if len(before) == len(after) == 1:
        section, model = SECTIONS.get(rule, ("", None))
        known = model.model_fields if model else {}
        for path, *values in differences(before[0], after[0]):
            place = (section, *path) if path[0] in known else path
            yield f"settings changed: {told(place, *values)}"
    elif before or after:
        yield "settings changed"
    others = [[value for value in values if not isinstance(value, dict)] for values in (old, new)]
    if any(others):
        yield "parameters changed: " + " -> ".join(map(shown, others))


def _inputs_changed(job: Any, record: Any, reason: Any) -> Iterator[str]:
    """Files whose content is not that of then, as far as no job makes them again."""
    made = set(map(str, reason.updated_input_run))
    newer = set(map(str, reason.updated_input)) & set(record.input or ())
    checksums = {
        name: str(digest).removeprefix("sha256:")
        for name, digest in (record.input_checksums or {}).items()
    }
    # of jobs that run anyway Snakemake does not look at them
    for name in sorted({*map(str, job.input)} - made):
        if name in checksums and Path(name).is_file():
            if sha256(name) != checksums[name]:
                yield f"input changed: {name}"
        elif name in newer:
            yield f"input newer: {name}, of which no content is recorded"


def _words(then: str, now: str) -> str:
    """Words of a shell command that are new or gone."""
    old, new = then.split(), now.split()
    if old == new:
        return "white space changed"
    moved = [f"+{word}" for word in new if word not in old]
    return " ".join([*moved, *(f"-{word}" for word in old if word not in new)]) or "order changed"


def _named(jobs: list[Any]) -> str:
    """Jobs by rule, and that they run again."""
    counts = Counter(job.rule.name for job in jobs)
    rules = listed(rule if count == 1 else f"{count} {rule}" for rule, count in counts.items())
    return f"{rules}, which {'runs' if len(jobs) == 1 else 'run'} again"


def listed(names: Iterable[str]) -> str:
    """The first few names, sorted, and how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - SHOWN
    return ", ".join(ordered[:SHOWN]) + (f" and {more} more" if more > 0 else "")
