"""A lineage as a Workflow Run RO-Crate, by the `rocrate` library.

The crate conforms to the Provenance Run Crate profile 0.5, and so to Workflow Run and
Process Run Crate (https://www.researchobject.org/workflow-run-crate/). It holds all files of
the lineage but weights and data of the hub, whose manifests have their SHA-256; the workflow; and
the code of its programs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multical.dag.lineage import Lineage, Step
from multical.errors import InputError
from multical.files import atomic, sha256
from multical.provenance.sidecar import relative, without_folders

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

SNAKEFILE = "Snakefile"
LICENCE = "https://spdx.org/licenses/MIT"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
#: Format of a file by the end of its name
FORMATS = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".tex": "application/x-tex",
    ".txt": "text/plain",
    ".py": "text/x-python",
    ".smk": "text/plain",
    ".yaml": "application/yaml",
    ".parquet": "application/vnd.apache.parquet",
}


def write(lineage: Lineage, folder: Path) -> None:
    """Write the crate as a new folder, whole or not at all.

    The same lineage gives the same bytes. Raises `InputError` if the folder exists, or if
    `rocrate` is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        raise InputError(f"--crate: no library rocrate ({error}), expected it installed") from error
    if folder.exists():
        raise InputError(f"{folder}: exists already, expected a new folder for the crate")
    crate = ROCrate(version="1.1")
    _describe(crate, lineage)
    workflow = _workflow(crate, lineage)
    actions = [
        _action(crate, lineage, step, number) for number, step in enumerate(lineage.steps, start=1)
    ]
    run = _run(crate, lineage, workflow)
    _steps(crate, lineage, workflow, actions, run)
    crate.root_dataset["mentions"] = [run, *actions]
    with atomic(folder) as temporary:
        crate.write(temporary)


def _describe(crate: ROCrate, lineage: Lineage) -> None:
    from rocrate.model.contextentity import ContextEntity

    crate.name = f"Provenance of {lineage.target}"
    crate.description = (
        f"How {lineage.target} was made, from the models and data that it started from. "
        f"It is made again by: {lineage.rebuild}"
    )
    crate.datePublished = _moment(lineage.steps[-1].ended) or "1970-01-01T00:00:00+00:00"
    crate.license = crate.add(
        ContextEntity(crate, LICENCE, {"@type": "CreativeWork", "name": "MIT"})
    )
    crate.root_dataset["conformsTo"] = [
        crate.add(
            ContextEntity(crate, uri, {"@type": "CreativeWork", "name": name, "version": version})
        )
        for uri, (name, version) in PROFILES.items()
    ]


def _workflow(crate: ROCrate, lineage: Lineage) -> Any:
    """The Snakefile as the workflow, with what it includes and the programs that were run."""
    kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    about = {"@type": kinds, "name": "multical"}
    workflow = crate.add_workflow(
        SNAKEFILE, SNAKEFILE, main=True, lang="snakemake", properties=about
    )
    for name in ["config.yaml", "claims.yaml", "envs/requirements.lock"]:
        _file(crate, name)
    for folder, pattern in (("rules", "*.smk"), ("scripts/multical", "*.py")):
        for file in sorted(Path(folder).glob(pattern)):
            _file(crate, str(file))
    tools = sorted({step.program for step in lineage.steps if step.program})
    workflow["hasPart"] = [_tool(crate, name) for name in tools]
    return workflow


def _tool(crate: ROCrate, program: str) -> Any:
    """A program, as it is now: each job has the fingerprint of what ran."""
    return _file(crate, f"scripts/{program}.py", "SoftwareSourceCode")


def _action(crate: ROCrate, lineage: Lineage, step: Step, number: int) -> Any:
    """One job, as it ran."""
    action = _entity(crate, f"#job-{number}", "CreateAction")
    action["name"] = step.title
    # a rule without a program has its shell command in the workflow itself
    action["instrument"] = _tool(crate, step.program) if step.program else crate.mainEntity
    action["object"] = [*_files(crate, lineage, step.inputs), *_values(crate, step, number)]
    action["result"] = _files(crate, lineage, step.outputs)
    if step.started and step.ended:
        action["startTime"] = _moment(step.started)
        action["endTime"] = _moment(step.ended)
    told = [*step.breaks, *(f"not recorded: {gap}" for gap in step.gaps)]
    if told:
        action["description"] = "; ".join(told)
    return action


def _values(crate: ROCrate, step: Step, number: int) -> list[Any]:
    """What a job was given beside files, and what it ran on, as property values."""
    known = {
        "settings": step.settings,
        "seeds": step.seeds,
        "code": step.code,
        "libraries": step.libraries,
        "machines": step.machines,
        "seconds": step.seconds,
        "sources": step.sources,
    }
    made = []
    for name, value in known.items():
        if value not in (None, {}, []):
            entity = _entity(crate, f"#job-{number}-{name}", "PropertyValue")
            entity["name"] = name
            text = json.dumps(without_folders(value), sort_keys=True, ensure_ascii=False)
            entity["value"] = value if isinstance(value, str) else text
            made.append(entity)
    return made


def _run(crate: ROCrate, lineage: Lineage, workflow: Any) -> Any:
    """The run as a whole: from the files that no job makes to the target."""
    run = _entity(crate, "#run", "CreateAction")
    run["name"] = lineage.rebuild
    run["instrument"] = workflow
    run["object"] = _files(crate, lineage, ["config.yaml", *lineage.given])
    run["result"] = _files(crate, lineage, [lineage.target])
    if end := _moment(lineage.steps[-1].ended):
        run["endTime"] = end
    return run


def _steps(crate: ROCrate, lineage: Lineage, workflow: Any, actions: list[Any], run: Any) -> None:
    """Which step of the workflow each job was, and the engine that ran them."""
    steps, controls = {}, []
    for number, (step, action) in enumerate(zip(lineage.steps, actions, strict=True), start=1):
        if step.rule not in steps:
            steps[step.rule] = _entity(crate, f"#rule-{step.rule}", "HowToStep")
            steps[step.rule]["name"] = step.rule
            steps[step.rule]["position"] = str(len(steps))
            steps[step.rule]["workExample"] = action["instrument"]
        control = _entity(crate, f"#control-{number}", "ControlAction")
        control["name"] = f"{step.title}, as a step"
        control["instrument"] = steps[step.rule]
        control["object"] = action
        controls.append(control)
    workflow["step"] = list(steps.values())
    engine = _entity(crate, "#snakemake", "SoftwareApplication")
    engine["name"] = "Snakemake"
    engine["url"] = "https://snakemake.github.io"
    organised = _entity(crate, "#organise", "OrganizeAction")
    organised["name"] = "Snakemake's run of the workflow"
    organised["instrument"], organised["object"], organised["result"] = engine, controls, run


def _files(crate: ROCrate, lineage: Lineage, names: Iterable[str]) -> list[Any]:
    """The files among some names that may be handed on; of folders and others there is nothing."""
    withheld = lineage.of_hub
    return [_file(crate, name) for name in names if name not in withheld and Path(name).is_file()]


def _file(crate: ROCrate, name: str, *kinds: str) -> Any:
    """A file of the crate, once however often it is asked for."""
    inside = relative(name)
    if (known := crate.get(inside)) is not None:
        return known
    about: dict[str, Any] = {
        "@type": ["File", *kinds] if kinds else "File",
        "name": inside,
        "contentSize": str(Path(name).stat().st_size),
        "identifier": f"sha256:{sha256(name)}",
    }
    if told := FORMATS.get(Path(name).suffix):
        about["encodingFormat"] = told
    return crate.add_file(name, inside, properties=about)


def _entity(crate: ROCrate, identifier: str, kind: str) -> Any:
    from rocrate.model.contextentity import ContextEntity

    if (known := crate.get(identifier)) is not None:
        return known
    return crate.add(ContextEntity(crate, identifier, {"@type": kind}))


def _moment(seconds: float | None) -> str | None:
    """A time in UTC as ISO 8601."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))
