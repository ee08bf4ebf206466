"""Makes Snakemake 9.27 notice outdated results that it overlooks.

Snakemake compares the code, parameters and inputs of a job with its records of the job's outputs
(`.snakemake/metadata`). It has four gaps:

- If any output of a job has no record, it compares nothing, and takes the job for current. This
  happens after the rule gained an output, or with results that came without their records. Here
  the other outputs are compared, and an output that exists without a record is out of date.
- It compares the content of an input only if the input's modification time is later than the
  outputs'. A file that was moved, unpacked or copied over another keeps its old time. Here the
  content is compared if the file's st_ctime, which no program sets, is after the job's end.
- It records the outputs of a job that failed as if it had made them. A process that an earlier
  Snakemake left behind may make them later, with other settings. Here there is no record.
- It compares no content of inputs over 1 MB, so that copies of large results are out of date. Here
  the limit is `LARGEST`.

One comparison is less strict: a user's own files may be gone, as after unpacking a bundle. Then the
jobs that read them need not run again, as long as what they made is there.

It also has Snakemake look once, and not for every job, at which parameters a function takes and
which rules make a file, match a file only with patterns that end as it does, fill in a job's shell
command once instead of three times, and say no more than the sentence of an `InputError` that a
function of a rule raises.

After Ctrl-C its plugin for SLURM cancels only the jobs that it has on a list. The list is empty
while it asks for their states, which may take minutes, and those that wait to be submitted are
submitted after that. Here no more are submitted, and all jobs of the run's name are cancelled.

Only the Snakefile calls `patch_snakemake`. The last functions use private names of Snakemake.

Until snakemake > 9.27.1: comparisons of jobs without records, of the content of older files, and of
large files by default; shell commands that are filled in once.
Until snakemake-executor-plugin-slurm > 2.8.0: Ctrl-C cancels all jobs of a run, whenever it comes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import snakemake.common
from snakemake.exceptions import InputFunctionException
from snakemake.output_index import OutputIndex
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from multical.errors import InputError
from multical.files import sha256

#: The most bytes of an input whose content is compared; for larger inputs only the time counts
LARGEST = 2_000_000_000


class Records(FilePersistence):
    """Snakemake's records of outputs, with stricter comparisons."""

    #: Files that jobs of a killed Snakemake may have finished since, which `make recover` judges
    left: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.max_checksum_file_size: int = max(self.max_checksum_file_size, LARGEST)
        self.dag.max_checksum_file_size = self.max_checksum_file_size

    def has_metadata(self, job: Any) -> bool:
        """Whether any output of a job has a record or exists, so that there is a comparison."""
        return any(self.metadata(file) or Path(file).exists() for file in job.output)

    async def finished(self, job: Any) -> None:
        """Record the outputs that there are."""
        await super().finished(job)
        for file in job.output:
            if not await file.exists():
                self.cleanup_metadata(file)

    def _code_changed(self, job: Any, file: Any = None) -> bool:
        return bool(super()._code_changed(job, file)) or self.unrecorded(file)

    def _input_changed(self, job: Any, file: Any = None) -> bool:
        if super()._input_changed(job, file):
            here = set(self.input(file) or ()) - set(self.gone(job, file))
            return here != set(map(str, job.input))
        return any(self.replaced(file))

    def unrecorded(self, file: Any) -> bool:
        """Whether an output exists without a record of how it was made."""
        return self.metadata(file) is None and Path(file).exists() and str(file) not in self.left

    def gone(self, job: Any, file: Any) -> list[str]:
        """The inputs of an output that no job makes, if a job finds none of them any more."""
        recorded, now = set(self.input(file) or ()), set(map(str, job.input))
        given = [name for name in sorted(recorded | now) if self._read_record(name) is None]
        return [] if any(name in now or Path(name).exists() for name in given) else given

    def replaced(self, file: Any) -> Iterator[str]:
        """The inputs of an output whose content has changed since the output was made."""
        record = self.metadata(file)
        if record is None:
            return
        for name, checksum in (record.input_checksums or {}).items():
            if _differs(name, checksum, record.endtime):
                yield name


def _differs(name: str, checksum: str, ended: float) -> bool:
    """Whether an input exists with another content than `checksum` since a job ended."""
    path = Path(name)
    if not path.is_file() or (status := path.stat()).st_ctime <= ended:
        return False
    return _digest(path, status.st_ctime_ns) != checksum


@cache
def _digest(path: Path, changed: int) -> str:
    """The checksum of a file; its time of change is a key of the cache."""
    return f"sha256:{sha256(path)}"


class FunctionError(InputFunctionException):
    """An error in a function of a rule, without a traceback if it is a sentence."""

    def __init__(self, msg: Any, wildcards: Any = None, **named: Any) -> None:
        if isinstance(msg, InputError):
            super(InputFunctionException, self).__init__(str(msg))
        else:
            super().__init__(msg, wildcards=wildcards, **named)


class Producers(OutputIndex):
    """Which rules make a file. Snakemake looks again for each job that reads the file."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.found: dict[str, set[Any]] = {}

    def match_producers(self, targetfile: str) -> set[Any]:
        name = str(targetfile)
        if name not in self.found:
            self.found[name] = super().match_producers(targetfile)
        return set(self.found[name])


def match(pattern: Any, target: str) -> Any:
    """`_IOFile.match`, which makes the regular expression of a pattern, and takes long to.

    Most patterns of a rule that makes a file end with another name than the file.
    """
    try:
        suffix = pattern.suffix
    except AttributeError:
        suffix = pattern.suffix = str(pattern.constant_suffix())
    return pattern.regex().match(target) if target.endswith(suffix) else None


class FilledInOnce:
    """The shell command of a job. Snakemake fills it in three times when it prints a job."""

    def __init__(self, command: property) -> None:
        self.command = command

    def __get__(self, job: Any, kind: Any = None) -> Any:
        if job is None:
            return self
        kept = job.__dict__.get("_filled_in")
        # Snakemake makes new parameters and resources where they may differ
        if kept is None or kept[0] is not job.params or kept[1] is not job.resources:
            command = self.command.__get__(job)
            kept = job._filled_in = (job.params, job.resources, command)
        return kept[2]


def cancel_run(executor: Any, active: Any) -> None:
    """Cancel all jobs that an executor of SLURM's plugin has submitted, and submit no more."""
    from snakemake_executor_plugin_slurm import cancel_slurm_jobs  # it runs SLURM's commands

    executor._job_submission_executor.shutdown(cancel_futures=True)
    # in the place of ids for scancel
    whole = SubmittedJobInfo(None, external_jobid=f"--name={executor.run_uuid}")
    cancel_slurm_jobs([whole], executor._submitted_job_clusters, executor.logger)


#: The parameters of a function. Snakemake looks at each function of a rule again for each job.
_parameters = cache(snakemake.common.get_function_params)


def patch_snakemake(left: Iterable[str]) -> None:
    """Have this Snakemake compare as above, except for files `left` by a killed Snakemake."""
    import snakemake.dag
    import snakemake.io
    import snakemake.jobs
    import snakemake.rules
    import snakemake.workflow  # here, since another module of Snakemake must be imported before it
    import snakemake_executor_plugin_slurm

    Records.left = frozenset(left)
    snakemake.workflow.FilePersistence = Records
    snakemake.dag.OutputIndex = Producers
    if isinstance(snakemake.jobs.Job.shellcmd, property):  # not patched before
        snakemake.jobs.Job.shellcmd = FilledInOnce(snakemake.jobs.Job.shellcmd)
    snakemake.io._IOFile.match = match
    snakemake.rules.InputFunctionException = FunctionError
    snakemake.common.get_function_params = snakemake.rules.get_function_params = _parameters
    snakemake_executor_plugin_slurm.Executor.cancel_jobs = cancel_run


def workflow_of(api: Any) -> Any:
    """The workflow that a `WorkflowApi` runs."""
    return api._workflow


def is_localrule(rule: Any) -> bool:
    """Whether a rule is declared local; in a dry run, `Workflow.is_local` is true for all rules."""
    return rule.name in rule.workflow._localrules


def write_records(records: Mapping[str, MetadataRecord], again: Collection[str]) -> None:
    """Write records of outputs that have none yet, and of the outputs in `again`."""
    persistence = FilePersistence(nolock=True)
    for output, record in records.items():
        if output in again or persistence._read_record(output) is None:
            persistence._write_record(output, record)
