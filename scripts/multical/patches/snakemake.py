"""What Snakemake 9.27 overlooks when it asks what is out of date, and how it is made to see it.

It compares the code, parameters and inputs of a job with its records of the job's outputs
(`.snakemake/metadata`). But it looks at

- nothing of a job of whose outputs any has no record: after its rule gained an output, or with
  results that came without their records, the job passes for current. Here the other outputs are
  compared, and one that is there without a record is out of date;
- the content of an input only if its modification time is later than the outputs'. A file that
  was moved, unpacked or copied over another keeps its old time. Here the content counts where
  st_ctime, which no program sets, says that the file was changed after the job ended;
- no content of inputs over 1 MB: copies of large results are out of date. Here over `LARGEST`.

Only the Snakefile replaces anything. The last functions are for what has no public name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from multical.files import sha256

#: Bytes of an input whose content is compared; beyond, its time alone counts
LARGEST = 2_000_000_000


class Records(FilePersistence):
    """Snakemake's records of outputs, by which less is taken for current."""

    #: What jobs of a killed Snakemake may have finished since: for `make recover` to judge
    left: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.max_checksum_file_size: int = max(self.max_checksum_file_size, LARGEST)
        self.dag.max_checksum_file_size = self.max_checksum_file_size

    def has_metadata(self, job: Any) -> bool:
        """Whether anything of a job is to be compared."""
        return any(self.metadata(file) or Path(file).exists() for file in job.output)

    def _code_changed(self, job: Any, file: Any = None) -> bool:
        return bool(super()._code_changed(job, file)) or self.unrecorded(file)

    def _input_changed(self, job: Any, file: Any = None) -> bool:
        return bool(super()._input_changed(job, file)) or any(self.replaced(file))

    def unrecorded(self, file: Any) -> bool:
        """Whether an output is there, but not how it was made."""
        return self.metadata(file) is None and Path(file).exists() and str(file) not in self.left

    def replaced(self, file: Any) -> Iterator[str]:
        """The inputs of an output whose content is no longer that of when it was made."""
        record = self.metadata(file)
        if record is None:
            return
        for name, checksum in (record.input_checksums or {}).items():
            if _differs(name, checksum, record.endtime):
                yield name


def _differs(name: str, checksum: str, ended: float) -> bool:
    """Whether an input is there, but no longer as it was when a job ended."""
    path = Path(name)
    if not path.is_file() or (found := path.stat()).st_ctime <= ended:
        return False
    return _digest(path, found.st_ctime_ns) != checksum


@cache
def _digest(path: Path, changed: int) -> str:
    return f"sha256:{sha256(path)}"


def patch_snakemake(left: Iterable[str]) -> None:
    """Have this Snakemake compare as above, but for the files `left` by one that was killed."""
    import snakemake.workflow  # here: it cannot be the first module of Snakemake's to be imported

    Records.left = frozenset(left)
    snakemake.workflow.FilePersistence = Records


def workflow_of(api: Any) -> Any:
    """The workflow that a `WorkflowApi` runs."""
    return api._workflow


def is_localrule(rule: Any) -> bool:
    """Whether a rule is declared local; in a dry run `Workflow.is_local` says so of all rules."""
    return rule.name in rule.workflow._localrules


def write_records(records: Mapping[str, MetadataRecord], again: Collection[str]) -> None:
    """Write records of outputs that have none yet, and of those that are made `again`."""
    persistence = FilePersistence(nolock=True)
    for output, record in records.items():
        if output in again or persistence._read_record(output) is None:
            persistence._write_record(output, record)
