"""Makes Snakemake 9.27 notice outdated results that it overlooks.

Snakemake compares the code, parameters and inputs of a job with its records of the job's outputs
(`.snakemake/metadata`). It has six gaps:

- If any output of a job has no record, it compares nothing, and takes the job for current. This
  happens after the rule gained an output, or with results that came without their records. Here
  the other outputs are compared, and an output that exists without a record is out of date.
- It compares the content of an input only if the input's modification time is later than the
  outputs'. A file that was moved, unpacked or copied over another keeps its old time. Here the
  content is always compared; it is read again if the file may be another (`multical.fixity`).
- It records the content that inputs have after the job. Here it is that from before the job, which
  is out of date if an input changes while the job reads it.
- It records the outputs of a job that failed as if it had made them. A process that an earlier
  Snakemake left behind may make them later, with other settings. Here there is no record.
- It compares no content of inputs over 1 MB, so that copies of large results are out of date. Here
  there is no limit.
- It takes a file for current if a function of the rule that makes it refuses, as where the config
  names an input that is gone. Here it stops with the function's sentence.

A record that is no text, as after a crash of the disk, ends Snakemake with a traceback. Here it is
no record.

It also records no content of outputs. Here each record has the checksum of its own output, among
those of inputs, by which `make bundle` and `make provenance` know a file that was changed by hand.

One comparison is less strict: a bundle leaves out the user's own files. Without them the jobs that
read them need not run again, as long as what they made is there (`multical.workflow.own_files`).

It also says no more than the sentence of an `InputError` that a function of a rule raises, and does
less (`snakemake_speed`).

After Ctrl-C its plugin for SLURM cancels only the jobs that it has on a list. The list is empty
while it asks for their states, which may take minutes, and those that wait to be submitted are
submitted after that. Here no more are submitted, and all jobs of the run's name are cancelled.

Only the Snakefile calls `patch_snakemake`. The last functions use private names of Snakemake.

Until snakemake > 9.27.1: comparisons of jobs without records, of the content of older files, and of
large files by default; records of content before the job, and of outputs; errors in functions of
rules.
Until snakemake-executor-plugin-slurm > 2.8.0: Ctrl-C cancels all jobs of a run, whenever it comes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from snakemake.exceptions import InputFunctionException
from snakemake.logging import logger
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from multical.errors import InputError
from multical.fixity import Digests
from multical.patches import snakemake_speed


class Records(FilePersistence):
    """Snakemake's records of outputs, with stricter comparisons."""

    #: Files that jobs of a killed Snakemake may have finished since, which `make recover` judges
    left: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.max_checksum_file_size = self.dag.max_checksum_file_size = sys.maxsize
        self.digests = Digests(Path(self.iocache_path, "digests.jsonl"))
        self.before: dict[Any, dict[str, str]] = {}

    def has_metadata(self, job: Any) -> bool:
        """Whether any output of a job has a record or exists, so that there is a comparison."""
        return any(self.metadata(file) or os.path.exists(file) for file in job.output)  # noqa: PTH110

    def checksum(self, name: Any) -> str | None:
        """The checksum of a file as Snakemake writes it; None if there is no such file."""
        digest = self.digests.of(str(name))
        return digest and f"sha256:{digest}"

    def starting(self, job: Any) -> None:
        """Note the content of a job's inputs, before it reads them."""
        found = {str(name): self.checksum(name) for name in job.input}
        self.before[job] = {name: checksum for name, checksum in found.items() if checksum}

    async def finished(self, job: Any) -> None:
        """Record the outputs that there are, with the content of inputs from before the job."""
        await super().finished(job)
        before = self.before.pop(job, {})
        changed = [name for name, checksum in before.items() if checksum != self.checksum(name)]
        for name in changed:
            logger.warning(f"{name}: changed while {job.rule.name} ran, which must run again")
        self._clear_cache()
        for file in job.output:
            if not await file.exists():
                self.cleanup_metadata(file)
            elif changed and (record := self.metadata(file)):
                record.input_checksums = (record.input_checksums or {}) | before
                self._write_record(self._get_key(file), record)

    def _read_record(self, key: str) -> MetadataRecord | None:
        """A record; none if it is damaged. Snakemake alone overlooks only what is not JSON."""
        try:
            found: MetadataRecord | None = super()._read_record(key)
        except (ValueError, RecursionError):
            return None
        return found

    def _write_record(self, key: str, record: MetadataRecord) -> None:
        """Write a record, with the checksum of its output."""
        if own := self.checksum(key):
            record.input_checksums = (record.input_checksums or {}) | {key: own}
        super()._write_record(key, record)

    def _code_changed(self, job: Any, file: Any = None) -> bool:
        return bool(super()._code_changed(job, file)) or self.unrecorded(file)

    def _input_changed(self, job: Any, file: Any = None) -> bool:
        if super()._input_changed(job, file):
            here = set(self.input(file) or ()) - set(self.gone(job, file))
            if here != set(map(str, job.input)):
                return True
        return any(self.replaced(file))

    def unrecorded(self, file: Any) -> bool:
        """Whether an output exists without a record of how it was made."""
        return self.metadata(file) is None and Path(file).exists() and str(file) not in self.left

    def made(self, file: Any) -> str | None:
        """The SHA-256 of an output when it was made, if its record has it."""
        record = self.metadata(file)
        checksums = record.input_checksums if record else None
        checksum = (checksums or {}).get(str(file))
        return str(checksum).removeprefix("sha256:") if checksum else None

    def gone(self, job: Any, file: Any) -> list[str]:
        """The inputs of an output that no job makes, if a job finds none of them any more."""
        recorded, now = set(self.input(file) or ()), set(map(str, job.input))
        given = [name for name in sorted(recorded | now) if self._read_record(name) is None]
        return [] if any(name in now or Path(name).exists() for name in given) else given

    def replaced(self, file: Any) -> Iterator[str]:
        """The inputs of an output whose content has changed since the output was made."""
        record = self.metadata(file)
        for name, checksum in ((record and record.input_checksums) or {}).items():
            if name != str(file) and self.checksum(name) not in (checksum, None):
                yield name


async def checksum(file: Any, *limits: Any, **more: Any) -> str | None:
    """The checksum of an `_IOFile` of any size."""
    found: str | None = file.rule.workflow.persistence.checksum(file)
    return found


#: The sentences of functions of rules since a graph was begun
said: list[str] = []


class FunctionError(InputFunctionException):
    """An error in a function of a rule, without a traceback if it is a sentence."""

    def __init__(self, msg: Any, wildcards: Any = None, **named: Any) -> None:
        if isinstance(msg, InputError):
            said.append(str(msg))
            super(InputFunctionException, self).__init__(str(msg))
        else:
            super().__init__(msg, wildcards=wildcards, **named)


def cancel_run(executor: Any, active: Any) -> None:
    """Cancel all jobs that an executor of SLURM's plugin has submitted, and submit no more."""
    from snakemake_executor_plugin_slurm import cancel_slurm_jobs  # it runs SLURM's commands

    executor._job_submission_executor.shutdown(cancel_futures=True)
    # in the place of ids for scancel
    whole = SubmittedJobInfo(None, external_jobid=f"--name={executor.run_uuid}")
    cancel_slurm_jobs([whole], executor._submitted_job_clusters, executor.logger)


def patch_snakemake(left: Iterable[str]) -> None:
    """Have this Snakemake compare as above, except for files `left` by a killed Snakemake."""
    import snakemake.io
    import snakemake.rules
    import snakemake.workflow
    import snakemake_executor_plugin_slurm

    from multical.patches.snakemake_jobs import Graph, Scheduler  # slow to import

    Records.left = frozenset(left)
    snakemake.io._IOFile.checksum = checksum
    snakemake.workflow.DAG = Graph
    snakemake.workflow.JobScheduler = Scheduler
    snakemake.workflow.FilePersistence = Records
    snakemake.rules.InputFunctionException = FunctionError
    snakemake_executor_plugin_slurm.Executor.cancel_jobs = cancel_run
    snakemake_speed.patch()


def record_of(output: str) -> MetadataRecord | None:
    """Snakemake's record of an output in this folder; None if it has none."""
    return FilePersistence(nolock=True)._read_record(output)


def workflow_of(api: Any) -> Any:
    """The workflow that a `WorkflowApi` runs."""
    return api._workflow


def is_localrule(rule: Any) -> bool:
    """Whether a rule is declared local; in a dry run, `Workflow.is_local` is true for all rules."""
    return rule.name in rule.workflow._localrules


def write_records(records: Mapping[str, Mapping[str, Any]], again: Collection[str]) -> None:
    """Write records of outputs that have none yet, and of the outputs in `again`."""
    persistence = FilePersistence(nolock=True)
    for output, record in records.items():
        if output in again or persistence._read_record(output) is None:
            persistence._write_record(output, MetadataRecord.model_validate(record))
