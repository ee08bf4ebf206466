"""Chooses the files of a study that go into a bundle, with Snakemake's records of them.

Snakemake's graph decides: a bundle has the files, logs and records of all jobs behind the figures,
tables and claims. Files that can be fetched or trained again are left out: weights, and data of the
hub and of the user, which only their owners may hand on.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from multical import paths
from multical.bundle import entries
from multical.bundle.archive import Machine, Restore
from multical.config import files
from multical.dag import dryrun, lineage
from multical.dag.edits import Edits
from multical.dag.lineage import Lineage
from multical.dag.reasons import first_few, reasons
from multical.errors import InputError
from multical.params import validated
from multical.patches.snakemake import is_localrule
from multical.provenance import hosts, sidecar

#: The folder that studies share
INPUTS = f"{paths.INPUTS}/"
#: Snakemake's records, a file for each output
METADATA = Path(".snakemake/metadata")
#: Keys of its records that differ from run to run, and that nothing compares; a record without
#: them came in a bundle (multical.workflow.own_files)
VOLATILE_KEYS = ("job_hash", "external_jobid")
#: The rule that makes pages, which show the texts of questions
PAGE = "make_page"
#: The code that makes results
CODE = ["Snakefile", "rules", "scripts", "config.yaml", "config", "claims.yaml", "envs", "expected"]

#: Folders of the repository with files that jobs read
OWN = ("scripts/", "report/")


def collect(
    study: str, anonymous: bool, shared: Collection[str] = ()
) -> tuple[Lineage, Restore, files.Data]:
    """All jobs of a study, what it takes to restore it, and the entries of the config.

    Data of others and of the user are left out, but for those with their names in `shared`. Run it
    in the folder that holds the Snakefile. Raises `InputError` for an unknown study, a study that
    is not made or not up to date, and a result that was changed by hand.
    """
    records = dict(_records())
    traced, local, config = _traced(study, records)
    check_shared(traced, shared)
    if _pages(traced, traced.withheld(shared)):
        records = {name: one for name, one in records.items() if one["rule"] != PAGE}
        traced, local, config = _traced(study, records)
    digests = {name: sha for step in traced.steps for name, sha in step.outputs.items()}
    check_unchanged(traced)
    ended = {name: int(step.ended or 0) for step in traced.steps for name in step.outputs}
    revision, modified = (None, False) if anonymous else commit()
    left_out = {
        name: {"bytes": Path(name).stat().st_size, "sha256": sha, "time": ended[name]}
        if (sha := digests[name])
        else None
        for name in sorted(traced.withheld(shared))
    }
    started = {step.started for step in traced.steps if step.rule in local and step.started}
    raw = {
        "version": 2,
        "study": study,
        "anonymous": anonymous,
        "commit": revision,
        "modified": modified,
        "targets": traced.targets,
        "needed": dict(_needed(traced, records)),
        "left_out": left_out,
        # temporary outputs too: they are gone, but still have a record
        "records": {name: records[name] for name in sorted(digests) if name in records},
        "machines": _machines(started),
    }
    restore = validated(Restore, raw, str(METADATA))
    roots = {study, *(step.wildcards["root"] for step in traced.steps if "root" in step.wildcards)}
    return traced, restore, entries.of_studies(config, roots)


def _traced(study: str, records: dict[str, Any]) -> tuple[Lineage, set[str], files.Data]:
    """The lineage of a study, the rules whose jobs run beside Snakemake, and the config."""
    targets = _targets(study, records)
    with dryrun.opened(targets, None) as (workflow, _):
        check_current(workflow, study)
        local = {rule.name for rule in workflow.rules if is_localrule(rule)}
        written = {key: of for key, of in workflow.config.items() if not callable(of)}
        config = json.loads(json.dumps(written, default=str))  # dates become texts
        return lineage.recorded(workflow, targets), local, config


def _pages(traced: Lineage, withheld: Collection[str]) -> list[str]:
    """The pages that show the texts of data which only their owners may hand on."""
    pages = (step for step in traced.steps if step.rule == PAGE)
    return [page for step in pages if step.inputs.keys() & withheld for page in step.outputs]


def check_shared(traced: Lineage, shared: Collection[str]) -> None:
    """Raise `InputError` for the name of something else than data of others or of the user."""
    owned = sorted({step.owned for step in traced.steps if step.owned})
    if unknown := sorted(set(shared) - set(owned)):
        raise InputError(f"--share: found {unknown[0]!r}, expected one of {owned}")


def _needed(
    traced: Lineage, records: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, str | None]]:
    """The files that no job makes, with their SHA-256, now or when a job read them.

    Without those of the repository, such as the style of figures: a clone has them.
    """
    checksums: dict[str, str] = {}
    for step in traced.steps:
        for name in step.outputs:
            checksums |= records.get(name, {}).get("input_checksums") or {}
    for name, digest in traced.original_files.items():
        if name.startswith(OWN):
            continue
        then = str(checksums.get(name, "")).removeprefix("sha256:")
        yield name, digest or then or None


def commit() -> tuple[str | None, bool]:
    """The commit of the code, and whether the code has uncommitted changes."""
    outputs = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", *CODE]):
        try:
            git = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):  # no git, or no repository
            return None, False
        outputs.append(git.stdout.strip())
    return outputs[0], bool(outputs[1])


def _records() -> Iterator[tuple[str, dict[str, Any]]]:
    """The outputs that Snakemake has a record of, each with its record."""
    for file in sorted(METADATA.rglob("*")):
        if file.is_file():  # a long name is cut into folders, each with an @ before it
            parts = file.relative_to(METADATA).parts
            try:
                name = urlsafe_b64decode("".join(part.removeprefix("@") for part in parts))
                record = json.loads(file.read_text(encoding="utf-8"))
                yield name.decode(), record | dict.fromkeys(VOLATILE_KEYS)
            except (ValueError, RecursionError):
                continue  # Snakemake ignores a broken record, too


def _targets(study: str, records: dict[str, dict[str, Any]]) -> list[str]:
    """The files of a study that no job reads, and that its config still has a job for."""
    known = list(files.load().studies)
    if study not in known:
        raise InputError(f"{study}: no study of config.yaml, expected one of {sorted(known)}")
    others = tuple(f"{root}/" for root in known if root.startswith(f"{study}/"))
    read = {name for record in records.values() for name in record["input"] or ()}
    jobs = defaultdict(list)
    for name in records:
        within = name.startswith(f"{study}/") and not name.startswith((*others, INPUTS))
        if within and Path(name).exists():
            jobs[records[name]["shellcmd"]].append(name)
    last = sorted(name for made in jobs.values() if read.isdisjoint(made) for name in made)
    if not last:
        raise InputError(f"{study}: nothing is made, expected a study to bundle: make it first")
    latest = max(last, key=lambda name: records[name]["endtime"] or 0)
    with dryrun.opened(latest, None) as (workflow, _):
        return [name for name in last if _has_a_job(workflow, name)]


def _has_a_job(workflow: Any, name: str) -> bool:
    """Whether a job makes a file now. A run that left the config leaves files behind."""
    from snakemake.exceptions import MissingRuleException
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        return all(job.params is not None for job in asyncio.run(workflow.dag.file2jobs(name)))
    except (MissingRuleException, WorkflowError):
        return False


def check_current(workflow: Any, study: str) -> None:
    """Raise `InputError` if a job would run, since the bundle would be stale from the start."""
    stale = [job for job in workflow.dag.needrun_jobs(exclude_finished=False) if job.output]
    if stale:
        first = min(stale, key=lambda job: min(job.output))
        why = next(reasons(workflow, first, Edits(workflow)), "")
        rules = first_few({job.rule.name for job in stale})
        raise InputError(
            f"{study}: {len(stale)} jobs would run again ({rules}; {min(first.output)}: {why}), "
            "expected a study that is up to date: make it first"
        )


def check_unchanged(traced: Lineage) -> None:
    """Raise `InputError` for an output that was changed by hand."""
    for step in traced.steps:
        for name, then in step.made.items():
            if (now := step.outputs[name]) not in (then, None):
                found = f"found SHA-256 {now}, expected {then}"
                raise InputError(f"{name}: changed since it was made: {found} as recorded")
        for name in [name for name, sha in step.outputs.items() if sha and name.endswith(".json")]:
            if name not in step.documents:
                raise InputError(f"{name}: not readable as JSON any more")
            document = step.documents[name]
            if isinstance(document, dict) and {"params_sha256", "outputs"} <= document.keys():
                sidecar.check(name)


def _machines(starts: set[float]) -> list[Machine]:
    """The machines on which jobs started at some times, each with its share of the times."""
    by_machine: dict[str, list[float]] = defaultdict(list)
    for start in sorted(starts):
        if machine := hosts.at(start):
            by_machine[json.dumps(machine, sort_keys=True)].append(start)
    return [Machine(machine=json.loads(text), starts=own) for text, own in by_machine.items()]
