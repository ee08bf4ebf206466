"""A lineage as an RO-Crate: its files, and JSON-LD that describes each with its SHA-256 and size.

The crate conforms to the Provenance Run Crate profile 0.5, and so to Workflow Run Crate and Process
Run Crate (https://www.researchobject.org/workflow-run-crate/). It holds the workflow's code and
the files of the lineage. Withheld files are named, but not in it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from multical.config.files import LOCAL
from multical.dag.lineage import Lineage, Step
from multical.errors import InputError
from multical.files import atomic, sha256
from multical.provenance.sidecar import relative, without_folders

#: Files of a crate by their names in it: a file to copy, or the content
Sources = dict[str, Path | bytes]
Reference = dict[str, str]

METADATA, SNAKEFILE = "ro-crate-metadata.json", "Snakefile"
#: The code that makes results, beside the Snakefile
CODE = (
    "config.yaml", "config/*.yaml", "claims.yaml", "envs/requirements.lock", "rules/*.smk",
    "scripts/**/*.py",
)  # fmt: skip
LICENCE = "https://spdx.org/licenses/MIT"
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
CRATE = "https://w3id.org/ro/crate/1.1"
#: `sha256` is a term of schema.org that RO-Crate 1.1 does not list
CONTEXT = [f"{CRATE}/context", {"sha256": "https://schema.org/sha256"}]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    WORKFLOW_CRATE: "Workflow RO-Crate",
}
#: Media type of a file by the end of its name
FORMATS = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".tex": "application/x-tex",
    ".txt": "text/plain",
    ".py": "text/x-python",
    ".smk": "text/plain",
    ".mplstyle": "text/plain",
    ".yaml": "application/yaml",
    ".parquet": "application/vnd.apache.parquet",
}


def write(lineage: Lineage, folder: Path) -> None:
    """Write the crate of the lineage's first target into a new folder, atomically.

    The same lineage gives the same bytes. Raises `InputError` if the folder exists.
    """
    if folder.exists():
        raise InputError(f"{folder}: exists already, expected a new folder for the crate")
    with atomic(folder) as temporary:
        sources = contents(lineage, lineage.targets[0], lineage.withheld())
        for name, source in sources.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                file.write_bytes(source)
            else:
                shutil.copyfile(source, file)


def contents(
    lineage: Lineage,
    subject: str,
    withheld: Collection[str],
    extra: Mapping[str, Path | bytes] = {},
) -> Sources:
    """All files of a crate by their names in it, including its metadata.

    Args:
        subject: the file or study that the crate is about.
        withheld: files of jobs that are not in the crate. Files that no job makes never are.
        extra: files to add to those of the lineage and the code.
    """
    crate = _Crate(lineage, withheld)
    for name, source in extra.items():
        crate.file(name, source)
    crate.describe(subject)
    graph = {"@context": CONTEXT, "@graph": list(crate.entities.values())}
    text = json.dumps(graph, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return {METADATA: text.encode(), **crate.sources}


class _Crate:
    """Files and JSON-LD entities. Adding one a second time changes nothing."""

    def __init__(self, lineage: Lineage, withheld: Collection[str]) -> None:
        self.lineage = lineage
        self.withheld = {*withheld, *lineage.original_files}
        self.sources: Sources = {}
        self.entities: dict[str, dict[str, Any]] = {}
        self.digests = {n: sha for s in lineage.steps for n, sha in (s.inputs | s.outputs).items()}
        self.times = {n: s.ended for s in lineage.steps for n in [*s.outputs, *s.logs]}

    def add(self, key: str, kind: str | list[str], **properties: Any) -> Reference:
        known = {key: value for key, value in properties.items() if value not in (None, [])}
        self.entities.setdefault(key, {"@id": key, "@type": kind, **known})
        return {"@id": key}

    def file(self, name: str, source: Path | bytes | None = None, *kinds: str) -> Reference:
        """Add a file. Its content is that of `source`, by default of the file called `name`."""
        inside, source = relative(name), Path(name) if source is None else source
        identifier = quote(inside, safe="/+")
        if inside not in self.sources:
            self.sources[inside] = source
            if isinstance(source, bytes):
                size, digest = len(source), hashlib.sha256(source).hexdigest()
            else:
                size, digest = source.stat().st_size, self.digests.get(name) or sha256(source)
            self.add(
                identifier, ["File", *kinds] if kinds else "File", name=inside,
                contentSize=str(size), sha256=digest, dateModified=_moment(self.times.get(name)),
                encodingFormat=FORMATS.get(Path(inside).suffix),
            )  # fmt: skip
        return {"@id": identifier}

    def program(self, name: str) -> Reference:
        """Add a program as it is now. Each job states the fingerprint of the code that it ran."""
        return self.file(f"scripts/{name}.py", None, "SoftwareSourceCode")

    def files(self, names: Iterable[str]) -> list[Reference]:
        """Add files of jobs. A withheld file is only named, and folders are left out."""
        return [
            self.add(f"#withheld-{quote(name)}", "CreativeWork", name=relative(name),
                     sha256=self.digests[name])
            if name in self.withheld else self.file(name)
            for name in names if Path(name).is_file()
        ]  # fmt: skip

    def describe(self, subject: str) -> None:
        """Add the workflow, its code, its run, and all jobs of the lineage."""
        steps = self.lineage.steps
        root, workflow = self.add("./", "Dataset"), {"@id": SNAKEFILE}
        programs = sorted({step.program for step in steps if step.program})
        parts = [self.program(name) for name in programs]
        actions = [self.action(step, f"#job-{n}") for n, step in enumerate(steps, start=1)]
        ended = _moment(max((step.ended or 0 for step in steps), default=0))
        run = self.add(
            "#run", "CreateAction", name=self.lineage.rebuild, instrument=workflow,
            object=self.files(["config.yaml", *self.lineage.original_files]),
            result=self.files(self.lineage.targets), endTime=ended,
        )  # fmt: skip
        self.file(SNAKEFILE, None, "SoftwareSourceCode", "ComputationalWorkflow", "HowTo")
        self.entities[SNAKEFILE] |= {
            "name": "multical",
            "programmingLanguage": self.add(
                SNAKEMAKE, "ComputerLanguage", name="Snakemake", alternateName="Snakemake",
                identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
                url={"@id": "https://snakemake.github.io"},
            ),
            "hasPart": parts,
            "step": self.steps(actions, run),
        }  # fmt: skip
        for pattern in CODE:
            for file in sorted({*Path().glob(pattern)} - {Path(LOCAL)}):
                self.file(str(file))
        self.add(
            METADATA, "CreativeWork", about=root,
            conformsTo=[{"@id": CRATE}, {"@id": WORKFLOW_CRATE}],
        )  # fmt: skip
        self.entities["./"] |= {
            "name": f"Provenance of {subject}",
            "description": f"How {subject} was made, from the models and data that it started "
            "from.",
            "datePublished": ended,
            "license": self.add(LICENCE, "CreativeWork", name="MIT"),
            "conformsTo": [
                self.add(uri, "CreativeWork", name=name, version=uri.rsplit("/")[-1])
                for uri, name in PROFILES.items()
            ],
            "hasPart": [{"@id": quote(name, safe="/+")} for name in self.sources],
            "mainEntity": workflow,
            "mentions": [run, *actions],
        }

    def action(self, step: Step, identifier: str) -> Reference:
        """Add the run of one job."""
        notes = [*step.breaks, *(f"not recorded: {gap}" for gap in step.gaps)]
        timed = step.started and step.ended
        return self.add(
            identifier, "CreateAction", name=step.title,
            # a rule without a program has its shell command in the workflow itself
            instrument=self.program(step.program) if step.program else {"@id": SNAKEFILE},
            object=[*self.files(step.inputs), *self.values(step, identifier)],
            result=self.files(step.outputs),
            startTime=_moment(step.started) if timed else None,
            endTime=_moment(step.ended) if timed else None,
            description="; ".join(notes) or None,
        )  # fmt: skip

    def values(self, step: Step, job: str) -> list[Reference]:
        """Add settings, seeds, code, libraries, machines, seconds and sources of a job."""
        names = ("settings", "seeds", "code", "libraries", "machines", "seconds", "sources")
        known = {name: getattr(step, name) for name in names}
        return [
            self.add(f"{job}-{name}", "PropertyValue", name=name,
                     value=value if isinstance(value, str) else _json(value))
            for name, value in known.items() if value not in (None, {}, [])
        ]  # fmt: skip

    def steps(self, actions: list[Reference], run: Reference) -> list[Reference]:
        """Add the rules as steps of the workflow, each job's step, and Snakemake's run."""
        rules: dict[str, Reference] = {}
        controls = []
        for number, (step, action) in enumerate(
            zip(self.lineage.steps, actions, strict=True), start=1
        ):
            if step.rule not in rules:
                rules[step.rule] = self.add(
                    f"#rule-{step.rule}", "HowToStep", name=step.rule,
                    position=str(len(rules) + 1),
                    workExample=self.entities[action["@id"]]["instrument"],
                )  # fmt: skip
            controls.append(self.add(
                f"#control-{number}", "ControlAction", name=f"{step.title}, as a step",
                instrument=rules[step.rule], object=action,
            ))  # fmt: skip
        engine = self.add(
            "#snakemake", "SoftwareApplication", name="Snakemake", url="https://snakemake.github.io"
        )
        self.add(
            "#organise", "OrganizeAction", name="Snakemake's run of the workflow",
            instrument=engine, object=controls, result=run,
        )  # fmt: skip
        return list(rules.values())


def _json(value: Any) -> str:
    return json.dumps(without_folders(value), sort_keys=True, ensure_ascii=False)


def _moment(seconds: float | None) -> str | None:
    """A time in UTC as ISO 8601, in whole seconds."""
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat()
