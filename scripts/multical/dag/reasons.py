"""Why Snakemake would run a job, in plain words.

Reasons come from Snakemake's DAG and from its records of outputs (`.snakemake/metadata`), not from
the text that it prints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from multical.dag.diff import as_text, describe, differences
from multical.dag.edits import FINGERPRINT, PROGRAM, Edits, decoded, is_derived

#: How many names a list has at most
NAMED = 3


def reasons(workflow: Any, job: Any, edits: Edits) -> Iterator[str]:
    """Why a job would run, the first cause first."""
    yield from own_reasons(workflow, job, edits)
    makers = rerun_makers(workflow.dag, job)
    if makers and _ran(workflow, job):
        yield f"made from: {_rules(makers)}"


def rerun_makers(dag: Any, job: Any) -> list[Any]:
    """The jobs that run again and make inputs of a job."""
    files = set(dag.reason(job).updated_input_run)
    return [maker for maker, made in dag.dependencies[job].items() if made & files]


def has_outputs(job: Any, which: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether outputs exist, `any` or `all` as `which` says; true for a job without outputs."""
    return not job.output or which(Path(file).exists() for file in job.output)


def _ran(workflow: Any, job: Any) -> bool:
    """Whether a job ever ran, by its record or by an output."""
    return workflow.persistence.metadata(job.output[0]) is not None or has_outputs(job, any)


def own_reasons(workflow: Any, job: Any, edits: Edits) -> Iterator[str]:
    """Why a job would run, other than because other jobs run again."""
    reason, record = workflow.dag.reason(job), workflow.persistence.metadata(job.output[0])
    if not _ran(workflow, job):
        yield from edits.that_made(job) or ["output missing: never made"]
        return  # nothing else matters
    if gone := [file for file in reason.missing_output if not Path(file).exists()]:
        yield _missing(workflow, job, gone)
    elif not has_outputs(job, any):
        yield "output missing: it was made, and is gone"
    if reason.forced:  # as force_incomplete has it
        yield "output incomplete: the job that makes it was cut off, or is at work"
    unrecorded = {file for file in job.output if workflow.persistence.unrecorded(file)}
    if unrecorded:
        yield f"no record of how it was made: {first_few(map(str, unrecorded))}"
    if record is None:
        newer = sorted(map(str, reason.updated_input - reason.updated_input_run))
        yield from (
            f"input newer: {name}; how the output was made is not recorded" for name in newer
        )
        return
    yield from _edits(workflow, job, record, edits)
    yield from _changed_inputs(workflow, job, record, reason)
    # Snakemake itself looks no further where it has found another reason
    if set(workflow.persistence.code_changed(job)) - unrecorded:
        then = workflow.persistence.code(job.output[0]) or ""
        yield f"shell command of {job.rule.name}: {_words(then, job.rule.shellcmd or '')}"
    if reason.software_stack_changed:
        yield "software changed: envs/environment.yaml"


def _missing(workflow: Any, job: Any, files: list[Any]) -> str:
    """Why outputs are missing: never made, removed, or temporary and needed again."""
    if new := [file for file in files if workflow.persistence.metadata(file) is None]:
        return (
            f"output missing: {first_few(map(str, new))}, which {job.rule.name} did not make then"
        )
    if any(getattr(file, "flags", {}).get("temp") for file in files):
        users = workflow.dag.depending[job].items()
        needing = [user for user, needed in users if needed & set(files)]
        return f"output missing: it was temporary, and is needed by {_rules(needing)}"
    return "output missing: it was made, and is gone"


def _edits(workflow: Any, job: Any, record: Any, edits: Edits) -> Iterator[str]:
    """Edits of settings and code, and inputs that appeared or vanished without such an edit."""
    change = workflow.persistence.params_changed(job)
    old, new = ([*map(decoded, texts)] for texts in (change.only_old, change.only_new))
    settings = [[value for value in values if not is_derived(value)] for values in (old, new)]
    now, then = set(map(str, job.input)), set(record.input or ())
    if any(settings) or now != then:
        edited, before = edits.of_config(job, record) or ([], now)
        yield from edited or _changed_settings(*settings)
        yield from (f"input appeared: {name}" for name in sorted(before - then))
        yield from (f"input vanished: {name}" for name in sorted(then - before))
    if program := PROGRAM.search(job.shellcmd or ""):
        for value in old:
            if isinstance(value, str) and FINGERPRINT.fullmatch(value):
                yield from edits.of_code(program[1], value)


def _changed_settings(old: list[Any], new: list[Any]) -> Iterator[str]:
    """Changes of parameters, where the old config is not known."""
    if len(old) == len(new) == 1 and isinstance(old[0], dict) and isinstance(new[0], dict):
        for difference in differences(old[0], new[0]):
            yield f"settings changed: {describe(*difference)}"
    elif old or new:
        texts = (", ".join(map(as_text, values)) or "none" for values in (old, new))
        yield "parameters changed: " + " -> ".join(texts)


def _changed_inputs(workflow: Any, job: Any, record: Any, reason: Any) -> Iterator[str]:
    """Inputs that changed since the job read them, except those that another job makes again."""
    made = set(map(str, reason.updated_input_run))
    newer = set(map(str, reason.updated_input)) & set(record.input or ())
    checksums = record.input_checksums or {}
    # Snakemake does not compare the inputs of jobs that run anyway
    for name in sorted({*map(str, job.input)} - made):
        if name in checksums and (now := workflow.persistence.checksum(name)):
            if now != checksums[name]:
                yield f"input changed: {name}"
        elif name in newer:
            yield f"input newer: {name}, of which no content is recorded"


def _words(then: str, now: str) -> str:
    """Words of a shell command that are new or gone."""
    old, new = then.split(), now.split()
    if old == new:
        return "white space changed"
    changes = [f"+{word}" for word in new if word not in old]
    changes += [f"-{word}" for word in old if word not in new]
    return " ".join(changes) or "order changed"


def _rules(jobs: list[Any]) -> str:
    """Jobs by rule: `2 train_sft, which run again`."""
    counts = Counter(job.rule.name for job in jobs)
    names = first_few(rule if count == 1 else f"{count} {rule}" for rule, count in counts.items())
    return f"{names}, which {'runs' if len(jobs) == 1 else 'run'} again"


def first_few(names: Iterable[str]) -> str:
    """The first few names, sorted, and how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - NAMED
    return ", ".join(ordered[:NAMED]) + (f" and {more} more" if more > 0 else "")
