"""The lineage of files: every job behind them, back to the files that no job makes.

The jobs come from Snakemake's DAG. Facts about them were recorded when they ran, by the programs
(sidecars, manifests, about.json, usage.json) and by Snakemake (`.snakemake/metadata`, benchmark
files). A fact that nobody recorded is a gap. A file or version that no longer agrees with the
records is a break.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from multical import paths
from multical.dag import dryrun
from multical.dag.edits import FINGERPRINT, PROGRAM, Edits, decoded
from multical.dag.reasons import first_few, reasons
from multical.errors import InputError
from multical.files import sha256
from multical.models import checkpoints
from multical.patches.snakemake import is_localrule
from multical.provenance import fingerprint, hosts
from multical.provenance.sidecar import without_folders
from multical.workflow.timings import recorded_seconds

#: Seconds by which a file may be newer than the end of its job
SLACK = 2.0
#: Endings of files that describe data, and may be handed on even if the data may not
DESCRIPTIONS = (".json", ".csv")
#: What each step should have; a gap where it is empty
EXPECTED = ("settings", "code", "seconds", "libraries", "machines")


@dataclass
class Step:
    """The run of a job.

    `inputs` and `outputs` have the SHA-256 of each file as it is now, `None` for a folder or
    a file that is gone. `settings` are the job's parameters from the config.
    """

    rule: str
    wildcards: dict[str, str]
    inputs: dict[str, str | None]
    outputs: dict[str, str | None]
    program: str | None = None
    settings: Any = None
    code: str | None = None  # fingerprint
    python: str | None = None
    libraries: dict[str, str] = field(default_factory=dict)
    pinned: bool = False  # whether `libraries` come from the lock at the time, not from the program
    machines: list[dict[str, Any]] = field(default_factory=list)
    seconds: float | None = None
    started: float | None = None  # seconds from 1970
    ended: float | None = None
    folders: list[str] = field(default_factory=list)  # outputs that are folders, such as weights
    logs: list[str] = field(default_factory=list)  # log and benchmark file
    documents: dict[str, Any] = field(default_factory=dict)  # its JSON outputs, by file
    gaps: list[str] = field(default_factory=list)  # facts that nobody recorded
    breaks: list[str] = field(default_factory=list)  # facts that no longer agree with the records
    stale: tuple[str, ...] = ()  # why Snakemake would run it again
    never_made: list[str] = field(default_factory=list)  # outputs that its rule gained since
    recorded: list[str] = field(default_factory=list)  # files whose content was recorded
    made: dict[str, str] = field(default_factory=dict)  # outputs' SHA-256 then, where recorded

    @property
    def title(self) -> str:
        """The rule and the values of its wildcards, but for the study's root."""
        values = [value for key, value in self.wildcards.items() if key != "root" and value]
        return " ".join([self.rule, *values])

    @property
    def seeds(self) -> dict[str, int]:
        """The seeds among the settings, by key."""
        return dict(seeds(self.settings))

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Where data or a model came from, and the files that were read there."""
        sources = [
            {"source": document["source"], "files": document.get("files", {})}
            for document in self.objects
            if isinstance(document.get("source"), dict)
        ]
        settings = self.settings if isinstance(self.settings, dict) else {}
        if not sources and "repository" in settings:  # the released outputs of paper 2
            selection = ("models", "datasets", "prompts", "study")
            source = {key: value for key, value in settings.items() if key not in selection}
            sources = [{"source": source, "files": {}}]
        return sources

    @property
    def owned(self) -> str | None:
        """The name of a benchmark or SFT data of others, or of the user; None of all else."""
        settings = self.settings if isinstance(self.settings, dict) else {}
        source = settings.get("source", settings)
        name = self.wildcards.get("benchmark") or self.wildcards.get("sft")
        is_input = all(output.startswith(f"{paths.INPUTS}/") for output in self.outputs)
        made_here = isinstance(source, dict) and source.get("kind") == "cldr"
        return name if is_input and not made_here else None

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects among `documents`."""
        return [each for each in self.documents.values() if isinstance(each, dict)]


@dataclass
class Lineage:
    """Files and all jobs behind them, in the order in which they run."""

    targets: list[str]
    steps: list[Step]

    @property
    def rebuild(self) -> str:
        """The command that makes the files, and whatever they need."""
        return f"snakemake --cores all {' '.join(self.targets)}"

    @property
    def original_files(self) -> dict[str, str | None]:
        """The files that no job makes, with their SHA-256."""
        made = {name for step in self.steps for name in step.outputs}
        read = {name: digest for step in self.steps for name, digest in step.inputs.items()}
        return {name: read[name] for name in sorted(read.keys() - made)}

    def withheld(self, shared: Collection[str] = ()) -> set[str]:
        """Weights, and data whose owners alone may hand them on, unless their name is in `shared`.

        Descriptions of both are not withheld.
        """
        return {
            name
            for step in self.steps
            for name in step.outputs
            if name in step.folders
            or (step.owned not in (None, *shared) and not name.endswith(DESCRIPTIONS))
        }

    def document(self) -> dict[str, Any]:
        """The lineage as JSON, without absolute paths."""
        steps = [
            {"title": step.title, "seeds": step.seeds, "sources": step.sources, **vars(step)}
            for step in self.steps
        ]
        return without_folders(
            {
                "target": self.targets[0],
                "rebuild": self.rebuild,
                "given": self.original_files,
                "steps": steps,
            }
        )


def trace(target: str) -> Lineage:
    """The lineage of a file of a study.

    Run it in the folder that holds the Snakefile. Raises `InputError` for a target that no
    rule makes, or that was never made.
    """
    with dryrun.opened(target, None) as (workflow, _):
        if not Path(target).is_file():
            raise InputError(f"{target}: no such file, expected one that was made")
        lineage = recorded(workflow, [target])
    _compare(lineage.steps)
    return lineage


def recorded(workflow: Any, targets: list[str]) -> Lineage:
    """The lineage of the targets of an opened workflow, not yet compared with the files."""
    dag, edits = workflow.dag, Edits(workflow)
    digests: dict[str, str | None] = {}
    stale = set(dag.needrun_jobs(exclude_finished=False))
    steps = [
        _step(workflow, job, digests, edits if job in stale else None)
        for job in dryrun.ordered(dag, set(dag.jobs))
    ]
    return Lineage(targets, steps)


def seeds(settings: Any, place: str = "") -> Iterator[tuple[str, int]]:
    """Each seed in settings, by its dotted key."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            if (key == "seed" or key.endswith("_seed")) and isinstance(value, int):
                yield f"{place}{key}", value
            yield from seeds(value, f"{place}{key}.")


def _step(workflow: Any, job: Any, digests: dict[str, str | None], edits: Edits | None) -> Step:
    """A job with all that is known of it alone."""

    def hashed(files: Any) -> dict[str, str | None]:
        names = sorted(map(str, files))
        for name in names:
            if name not in digests:
                digests[name] = sha256(name) if Path(name).is_file() else None
        return {name: digests[name] for name in names}

    step = Step(job.rule.name, dict(job.wildcards_dict), hashed(job.input), hashed(job.output))
    step.folders = [str(name) for name in job.output if name.is_directory]
    step.logs = [*map(str, job.log), *([] if job.benchmark is None else [str(job.benchmark)])]
    step.documents = dict(_documents(step))
    _add_documents(step)
    record = workflow.persistence.metadata(job.output[0])
    if record is None:
        step.gaps.append("how it was made: Snakemake has no record of it")
        program = PROGRAM.search(job.shellcmd or "")
    else:
        step.inputs |= dict.fromkeys(workflow.persistence.gone(job, job.output[0]))
        _add_record(step, record)
        if not step.machines and is_localrule(job.rule) and record.starttime:
            step.machines = [each for each in [hosts.at(record.starttime)] if each]
        program = PROGRAM.search(record.shellcmd or "")
    for name in job.output:
        if record and workflow.persistence.metadata(name) is None and not Path(name).exists():
            step.never_made.append(str(name))
            step.gaps.append(f"{name}: the job did not make it then")
        if then := workflow.persistence.made(name):
            step.made[str(name)] = then
            if step.outputs[str(name)] not in (then, None):
                step.breaks.append(f"{name}: its content is not that which {step.rule} made")
    step.recorded += step.made
    step.program = program[1] if program else None
    if job.benchmark is not None and step.seconds is None:
        step.seconds = recorded_seconds(Path(str(job.benchmark)))
    step.gaps += [name for name in EXPECTED if not getattr(step, name)]
    step.stale = tuple(reasons(workflow, job, edits)) if edits else ()
    return step


def _documents(step: Step) -> Iterator[tuple[str, Any]]:
    """The JSON outputs of a job, by file."""
    for name in step.outputs:
        if name.endswith(".json") and step.outputs[name]:
            try:
                yield name, json.loads(Path(name).read_text(encoding="utf-8"))
            except (ValueError, RecursionError):
                step.breaks.append(f"{name}: not JSON any more")


def _add_documents(step: Step) -> None:
    """Add what sidecars, manifests and usage.json record."""
    for document in step.objects:
        step.settings = step.settings or document.get("params") or document.get("source")
        step.code = step.code or document.get("code")
        step.python = step.python or document.get("python")
        if "params_sha256" in document:  # a sidecar
            step.recorded += [*document.get("inputs", {}), *document.get("outputs", {})]
        step.libraries = step.libraries or document.get("libraries", {})
        for key in ("wall_seconds", "seconds"):
            if step.seconds is None and key in document:
                step.seconds = float(document[key])
        machines = document.get("machines", [document["machine"]] if "machine" in document else [])
        step.machines += [each for each in machines if each not in step.machines]


def _add_record(step: Step, record: Any) -> None:
    """Add what Snakemake recorded, and compare it with the files."""
    for value in map(decoded, record.params or ()):
        if isinstance(value, dict):
            step.settings = value
        elif isinstance(value, str) and FINGERPRINT.fullmatch(value):
            step.code = value
    step.started, step.ended = record.starttime, record.endtime
    pins = _pins(step, record)
    if not step.libraries:
        step.libraries, step.pinned = pins, True
    for name, version in step.libraries.items():
        if (pin := pins.get(name, version)) != version.partition("+")[0]:
            step.breaks.append(f"{name}: {step.rule} ran with {version}, the lock had {pin}")
    then = set(record.input or ())
    for word, names in (
        ("no longer", then - step.inputs.keys()),
        ("now", step.inputs.keys() - then),
    ):
        if names:
            step.breaks.append(f"{first_few(names)}: {word} among the files that it is made of")
    checksums = record.input_checksums or {}
    for name, checksum in sorted(checksums.items()):
        now = step.inputs.get(name)
        if now is not None and str(checksum).removeprefix("sha256:") != now:
            step.breaks.append(f"{name}: its content is not that which {step.rule} read")
    step.recorded += sorted(checksums)


def _pins(step: Step, record: Any) -> dict[str, str]:
    """Versions of the libraries that a program imports, as the lock had them when it ran."""
    program = PROGRAM.search(record.shellcmd or "")
    try:
        text = base64.b64decode(record.conda_env or "").decode()
        imported = fingerprint.libraries(program[1]) if program else set()
    except (binascii.Error, UnicodeDecodeError, InputError):
        return {}
    pins = dict(re.findall(r"^\s*- ([\w.-]+)==(\S+)$", text, re.MULTILINE))
    by_name = {str(canonicalize_name(name)): (name, version) for name, version in pins.items()}
    return dict(sorted(by_name[name] for name in imported & by_name.keys()))


def _compare(steps: list[Step]) -> None:
    """Compare the recorded contents of files with the files, and name files that are gone."""
    digests = {name: sha for step in steps for name, sha in (step.inputs | step.outputs).items()}
    documents = {name for step in steps for name in step.documents}
    recorded = {name for step in steps for name in step.recorded}
    made = {name for step in steps if not step.owned for name in step.outputs}
    for step in steps:
        _compare_times(step, recorded)
        for document in step.objects:
            if "params_sha256" in document:
                _compare_sidecar(step, document, digests)
            for key in ("base_manifest_sha256", "data_sha256"):
                if key in document and document[key] not in step.inputs.values():
                    step.breaks.append(f"{key}: no file that {step.rule} read has this content now")
        for name in {**step.inputs, **step.outputs}:
            if not Path(name).exists() and name not in step.never_made:
                if f"{name.removesuffix('checkpoint')}manifest.json" in documents:
                    step.gaps.append(f"{name}: gone; its manifest lists what was in it")
                elif name not in made:
                    step.gaps.append(f"{name}: gone; a bundle does not have it")
                else:
                    step.breaks.append(f"{name}: gone")
        for name in step.documents:
            if name.endswith("/manifest.json") and Path(name).with_name("checkpoint").exists():
                try:
                    checkpoints.verified(name, contents=False)
                except InputError as error:
                    step.breaks.append(str(error))
        step.breaks = list(dict.fromkeys(step.breaks))


def _compare_times(step: Step, recorded: set[str]) -> None:
    """Compare the times of outputs whose content nobody recorded."""
    for name in sorted(step.outputs.keys() - recorded):
        file = Path(name)
        if step.ended and file.is_file() and file.stat().st_mtime > step.ended + SLACK:
            step.breaks.append(f"{name}: written again after {step.rule} had made it")


def _compare_sidecar(step: Step, sidecar: dict[str, Any], digests: dict[str, str | None]) -> None:
    for key, verb in (("inputs", "read"), ("outputs", "made")):
        for name, then in sidecar.get(key, {}).items():
            if digests.get(name) not in (then, None):
                step.breaks.append(f"{name}: its content is not that which {step.rule} {verb}")
    if "outputs" not in sidecar:
        step.gaps.append("the content of what it made")
