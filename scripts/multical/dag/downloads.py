"""What a study takes from a network, by Snakemake's graph: models, data sets, released outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multical import paths
from multical.config.schema import Config
from multical.dag import dryrun
from multical.data.benchmark_params import CldrBenchmark
from multical.data.sft_params import CldrSft
from multical.data.sources import File
from multical.files import sha256
from multical.models.fetch_params import FolderModel

#: Sources of models and data that are on this machine
LOCAL = CldrBenchmark | CldrSft | File | FolderModel
#: Rules whose jobs may need a network: what they need, and the wildcard that names it
RULES = {
    "fetch_model": ("model", "model"),
    "make_benchmark": ("benchmark", "benchmark"),
    "make_sft_data": ("sft data", "sft"),
    "import_released": ("released outputs", "root"),
    "score_api": ("model", "run"),
}


@dataclass(frozen=True)
class Download:
    """A job that needs a network.

    `ended` is when it last ended, in seconds from 1970; 0 if Snakemake has no record of it.
    """

    rule: str
    name: str  # of the model or data, or the root of the study
    outputs: list[str]
    made: bool  # and Snakemake would not make it again
    ended: float

    @property
    def subject(self) -> str:
        """What it needs, for people."""
        return f"{RULES[self.rule][0]} {self.name}"

    @property
    def asked(self) -> bool:
        """Whether it is a model behind an API, which no job can fetch."""
        return self.rule == "score_api"

    @property
    def is_here(self) -> bool:
        """Whether all its outputs exist."""
        return all(Path(output).exists() for output in self.outputs)

    def checksums(self) -> dict[str, str]:
        """The SHA-256 of each file that it made, by path."""
        files = [
            file
            for output in map(Path, self.outputs)
            for file in (sorted(output.rglob("*")) if output.is_dir() else [output])
            if file.is_file() and file.name != ".snakemake_timestamp"
        ]
        return {str(file): sha256(file) for file in files}


def of_study(config: Config, root: str) -> list[Download]:
    """All jobs of the study at `root` that need a network, made or not.

    Run it in the folder that holds the Snakefile. It needs no network. Raises `InputError` where
    Snakemake refuses.
    """
    targets = [paths.HEADLINE.format(root=root), paths.VERDICTS.format(root=root)]
    with dryrun.opened(targets, None) as (workflow, _):
        dag = workflow.dag
        stale = set(dag.needrun_jobs(exclude_finished=False))
        jobs = [job for job in dryrun.ordered(dag, set(dag.jobs)) if _needs_network(config, job)]
        return [_download(workflow, job, job not in stale) for job in jobs]


def _needs_network(config: Config, job: Any) -> bool:
    """Whether a job reads from a package index, the hub, a repository or an API."""
    name = _name(job)
    match job.rule.name:
        case "fetch_model":
            return not isinstance(config.models[name].source, LOCAL)
        case "make_benchmark":
            return not isinstance(config.benchmarks[name].source, LOCAL)
        case "make_sft_data":
            return not isinstance(config.sft_data[name].source, LOCAL)
        case "import_released":
            return config.released(name).source.local is None
    return job.rule.name == "score_api"


def _download(workflow: Any, job: Any, made: bool) -> Download:
    record = workflow.persistence.metadata(job.output[0])
    return Download(
        rule=job.rule.name,
        name=_name(job),
        outputs=sorted(map(str, job.output)),
        made=made,
        ended=float((record and record.endtime) or 0),
    )


def _name(job: Any) -> str:
    """The name of what a job of `RULES` needs; empty for other jobs."""
    _, wildcard = RULES.get(job.rule.name, ("", ""))
    return str(job.wildcards_dict.get(wildcard, ""))
