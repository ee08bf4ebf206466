"""What of a study goes into a bundle: all that its figures are made of, and what is said of it.

Snakemake's own graph decides: the jobs behind what people look at (figures, tables, claims),
with their files, logs, and what Snakemake remembers of them. Left out is what can be fetched or
trained again: weights, and data of the hub, whose licences are their owners' to pass on.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multical.config import files
from multical.dag import dryrun
from multical.dag.edits import Edits, decoded
from multical.dag.reasons import first_few, reasons
from multical.errors import InputError
from multical.files import sha256
from multical.patches.snakemake import is_localrule
from multical.provenance import hosts, sidecar

#: Where Snakemake remembers what it made, a file for each
METADATA = Path(".snakemake/metadata")
#: What it remembers of a process, and nothing compares
PASSING = {"job_hash": None, "external_jobid": None}
#: What results are made by
CODE = ["Snakefile", "rules", "scripts", "config.yaml", "claims.yaml", "envs", "expected"]
#: Of data that are left out, what tells of them stays
TELLING = (".json", ".csv")


@dataclass(frozen=True)
class Contents:
    """What of a study goes into a bundle, by path from the folder that holds the Snakefile."""

    study: str
    targets: list[str]  # that no job reads
    files: list[str]
    logs: list[str]
    timings: list[str]
    records: dict[str, dict[str, Any]]  # what Snakemake remembers, by output
    machines: list[dict[str, Any]]  # of local jobs, as multical.provenance.hosts has them
    left_out: list[str]  # there or not
    times: dict[str, int]  # of all these files: when their job had ended, seconds from 1970
    needed: dict[str, str | None]  # files that no job makes, with SHA-256
    config: dict[str, Any]  # as Snakemake sees it


def collect(study: str) -> Contents:
    """All of a study that was made and is up to date.

    Run it in the folder that holds the Snakefile. Raises `InputError` for an unknown study,
    one of which nothing is made, and one of which a job would run again.
    """
    known = dict(_remembered())
    targets = _targets(study, known)
    with dryrun.opened(targets, None) as (workflow, _):
        dag = workflow.dag
        _check_current(workflow, study)
        jobs = [job for job in dag.jobs if not job.rule.norun]
        made = sorted({str(file) for job in jobs for file in job.output})
        _check_unchanged(made)
        left_out = sorted({str(f) for job in jobs for f in job.output if is_left_out(job, f)})
        given = {str(file) for job in jobs for file in job.input} - set(made)
        # what was temporary is gone, but Snakemake remembers it
        records = {name: known[name] for name in made if name in known}
        return Contents(
            study=study,
            targets=targets,
            files=[name for name in made if name not in left_out and Path(name).is_file()],
            logs=_existing(str(file) for job in jobs for file in job.log),
            timings=_existing(str(job.benchmark) for job in jobs if job.benchmark is not None),
            records=records,
            machines=_machines(jobs, records),
            left_out=left_out,
            times={name: time for job in jobs for name, time in _times(job, records)},
            needed={name: sha256(name) if Path(name).is_file() else None for name in sorted(given)},
            config=json.loads(json.dumps(workflow.config)),
        )


def commit() -> tuple[str | None, bool]:
    """The commit of the code, and whether there are changes that it does not have."""
    said = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", *CODE]):
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):  # no git, or no repository
            return None, False
        said.append(done.stdout.strip())
    return said[0], bool(said[1])


def studies() -> list[str]:
    """The roots of the studies of config.yaml."""
    return list(files.load().studies)


def _remembered() -> Iterator[tuple[str, dict[str, Any]]]:
    """What Snakemake remembers of each file that it made."""
    for file in sorted(METADATA.rglob("*")):
        if file.is_file():  # a long name is cut into folders, each with an @ before it
            parts = file.relative_to(METADATA).parts
            try:
                name = urlsafe_b64decode("".join(part.removeprefix("@") for part in parts))
                yield name.decode(), json.loads(file.read_text(encoding="utf-8")) | PASSING
            except ValueError:
                continue  # Snakemake takes a broken one for none, too


def _targets(study: str, remembered: dict[str, dict[str, Any]]) -> list[str]:
    """What was made of a study and is read by no job, as far as the config still knows it."""
    known = studies()
    if study not in known:
        raise InputError(f"{study}: no study of config.yaml, expected one of {sorted(known)}")
    others = tuple(f"{one}/" for one in [*known, "results/inputs"] if one.startswith(f"{study}/"))
    own = [
        name
        for name in remembered
        if name.startswith(f"{study}/") and not name.startswith(others) and Path(name).exists()
    ]
    read = {name for record in remembered.values() for name in record["input"] or ()}
    jobs = defaultdict(list)
    for name in own:
        jobs[remembered[name]["shellcmd"]].append(name)
    last = sorted(name for made in jobs.values() if read.isdisjoint(made) for name in made)
    if not last:
        raise InputError(f"{study}: nothing is made, expected a study to bundle: make it first")
    latest = max(last, key=lambda name: remembered[name]["endtime"])
    with dryrun.opened(latest, None) as (workflow, _):
        return [name for name in last if _has_a_job(workflow, name)]


def _has_a_job(workflow: Any, name: str) -> bool:
    """Whether a file is of the study as it is now; a run that was removed leaves files behind."""
    from snakemake.exceptions import MissingRuleException
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        return all(job.params is not None for job in asyncio.run(workflow.dag.file2jobs(name)))
    except (MissingRuleException, WorkflowError):
        return False


def _check_current(workflow: Any, study: str) -> None:
    """Raise `InputError` if a job would run: a bundle would be stale from the start."""
    stale = [job for job in workflow.dag.needrun_jobs(exclude_finished=False) if job.output]
    if stale:
        first = min(stale, key=lambda job: min(job.output))
        why = next(reasons(workflow, first, Edits(workflow)), "")
        rules = first_few({job.rule.name for job in stale})
        raise InputError(
            f"{study}: {len(stale)} jobs would run again ({rules}; {min(first.output)}: {why}), "
            "expected a study that is up to date: make it first"
        )


def _check_unchanged(made: list[str]) -> None:
    """Raise `InputError` for a figure, table or verdict that was changed by hand."""
    for name in made:
        if name.endswith(".json") and Path(name).is_file():
            try:
                document = json.loads(Path(name).read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(f"{name}: not readable as JSON any more ({error})") from error
            if isinstance(document, dict) and {"params_sha256", "outputs"} <= document.keys():
                sidecar.check(name)


def is_left_out(job: Any, file: Any) -> bool:
    """Whether an output is weights, or data of the hub."""
    if file.is_directory:
        return True
    settings = [decoded(repr(value)) for value in job.params]
    of_hub = any(isinstance(one, dict) and "repo" in one for one in settings)
    return of_hub and not str(file).endswith(TELLING)


def _times(job: Any, records: dict[str, dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """When a job had ended, for each of its files: none is then newer than what is made of it."""
    ended = max(int(records[str(file)]["endtime"]) for file in job.output if str(file) in records)
    for file in [*job.output, *job.log, *([job.benchmark] if job.benchmark else [])]:
        yield str(file), ended


def _machines(jobs: list[Any], records: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The machines of local jobs, each with the starts of its jobs."""
    starts = {
        records[str(file)]["starttime"]
        for job in jobs
        for file in job.output
        if is_localrule(job.rule) and str(file) in records
    } - {None}
    found: dict[str, list[float]] = defaultdict(list)
    for start in sorted(starts):
        if machine := hosts.at(start):
            found[json.dumps(machine, sort_keys=True)].append(start)
    return [{"machine": json.loads(one), "starts": of_it} for one, of_it in found.items()]


def _existing(names: Iterator[str]) -> list[str]:
    return sorted({name for name in names if Path(name).is_file()})
