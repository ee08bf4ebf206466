"""Has Snakemake 9.27 do less for each job.

- It looks again, for each job, at which parameters a function of a rule takes, and which rules make
  a file. Here it looks once.
- It makes the regular expression of a pattern to match a file with it. Here it does so only if the
  pattern ends as the file does.
- It fills in a shell command three times to print a job. Here it does so once.
- It looks again, for each job that reads a file, at which job makes it, and at all parts of all
  outputs for one inside another. Here it looks once, and only where there is one
  (`snakemake_jobs.Graph`).
- It starts tasks of asyncio to ask for each output of a job, and makes the names of logs again to
  check them. Here it does neither.
- Each round of its scheduler has another program solve equations to choose the next jobs. Here it
  chooses as with `--scheduler greedy`: by priority, then jobs of larger inputs first.
- Each round of its scheduler starts another one a second later, and that one too: in time as many a
  second as jobs have ended. Here at most one waits, and none while no core is free.

Until snakemake > 9.27.1: one round of scheduling a second; shell commands that are filled in once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cache
from typing import Any

from snakemake.exceptions import ProtectedOutputException
from snakemake.iocontainers import Wildcards
from snakemake.output_index import OutputIndex

from multical.patches import snakemake_files

#: How many last letters of a file's name tell which patterns may match it, as those of `json`
LETTERS = 4


class Producers(OutputIndex):
    """Which rules make a file. Snakemake asks again for each job that reads it, and each rule."""

    def __init__(self, rules: Iterable[Any]) -> None:
        super().__init__(rules)
        self.found: dict[str, set[Any]] = {}
        #: The beginning and end of each pattern, and its rule, by the last letters of the end
        self.by_end: dict[str, list[tuple[str, str, Any]]] = {}
        for rule in rules:
            for pattern in rule.products():
                begin, end = str(pattern.constant_prefix()), str(pattern.constant_suffix())
                self.by_end.setdefault(self.letters(end), []).append((begin, end, rule))

    @staticmethod
    def letters(end: str) -> str:
        """The last letters of a name; empty if it has fewer."""
        return end[-LETTERS:] if len(end) >= LETTERS else ""

    def match(self, targetfile: str) -> set[Any]:
        name = str(targetfile)
        return {
            rule
            for letters in {self.letters(name), ""}
            for begin, end, rule in self.by_end.get(letters, ())
            if name.endswith(end) and name.startswith(begin)
        }

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


class Last:
    """The wildcards of the last job that was asked for, and `Wildcards` of them.

    In one pair, since jobs are in several threads.
    """

    pair: tuple[Any, Any] = (None, None)


def wildcards(fromdict: Any) -> Any:
    """`Wildcards`, of which Snakemake makes new ones for each function that it calls for a job."""
    given, made = Last.pair
    if given is not fromdict:
        made = Wildcards(fromdict=fromdict)
        Last.pair = fromdict, made
    return made


def is_valid(job: Any) -> None:
    """`Job.is_valid`, which makes the names of a job's logs once more than is needed."""
    _ = job.benchmark, job.log


async def check_protected_output(job: Any) -> None:
    """`Job.check_protected_output`, which starts a task for each output."""
    protected = [file for file in job.output if await file.protected()]
    if protected:
        raise ProtectedOutputException(job, protected)


async def output_mintime(job: Any) -> float | None:
    """`Job.output_mintime`, which starts a task for each output."""
    files = [*job.output, *filter(None, [job.benchmark])]
    times = [(await file.mtime()).local_or_storage() for file in files if await file.exists()]
    return min(times, default=None)


#: Schedulers that a thread waits to wake
_waiting: set[Any] = set()


def wake_later(scheduler: Any, delay: int) -> None:
    """Have a scheduler look for jobs to start in `delay` seconds, since it starts so many a second.

    Not if it will anyway: a thread waits already, or no core is free until a job ends.
    """

    def wake() -> None:
        _waiting.discard(scheduler)
        scheduler._open_jobs.release()

    if scheduler not in _waiting and scheduler.resources["_cores"]:
        _waiting.add(scheduler)
        threading.Timer(delay, wake).start()


def patch() -> None:
    """Have this Snakemake do less, as above; its scheduler is `snakemake_jobs.Scheduler`."""
    import snakemake.common
    import snakemake.dag
    import snakemake.io
    import snakemake.jobs
    import snakemake.rules

    snakemake_files.patch()
    snakemake.jobs.Wildcards = snakemake.rules.Wildcards = wildcards
    snakemake.dag.OutputIndex = Producers
    if isinstance(snakemake.jobs.Job.shellcmd, property):  # not patched before
        snakemake.jobs.Job.shellcmd = FilledInOnce(snakemake.jobs.Job.shellcmd)
    snakemake.jobs.Job.is_valid = is_valid
    snakemake.jobs.Job.check_protected_output = check_protected_output
    snakemake.jobs.Job.output_mintime = property(output_mintime)
    snakemake.io._IOFile.match = match
    parameters = cache(snakemake.common.get_function_params)
    snakemake.common.get_function_params = snakemake.rules.get_function_params = parameters
