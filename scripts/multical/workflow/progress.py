"""How far a run of Snakemake has come, and how long the rest of it will take.

The time left is the work of the jobs that have not ended, shared among the cores. Each job is
expected to take what it took at its last run here. Otherwise, a job that runs a model takes what
`multical.workflow.timings` estimates from its size, and any other job what `SECONDS` says. These
times are then scaled by how long the jobs that have ended took, compared with what was expected.

A job that counts its work, with a bar of tqdm, has come as far as the last bar in its log says. Any
other job has come as far as its time says.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from multical.config import files
from multical.config.schema import Config
from multical.errors import InputError
from multical.workflow import costs, job_params
from multical.workflow.timings import FLOP, Timings

#: Seconds of jobs whose time does not follow from their tokens, roughly as in the demo and in
#: msp_v2 on 2 cores. All others take about `OTHER` seconds.
SECONDS = {
    "fetch_model": 40,
    "compute_effects": 40,
    "compute_recalibration": 20,
    "compute_metrics": 15,
    "compute_msp_abstention": 40,
    "compute_msp_intervals": 30,
    "compute_msp_changes": 15,
    "plot_msp_auroc": 6,
    "make_page": 10,
}
OTHER = 4
#: FLOP/s of a job that runs a model, in training and scoring alike, roughly as in the demo with AMX
FLOPS = 4e11
#: For this long, what this run has measured says little
SETTLED = 60  # seconds
#: A bar of tqdm in a log: the share in percent, and the counts
TQDM = re.compile(r" *(\d{1,3})%\|[^|]*\| (\S+/\S+) \[")
#: What a bar is of that counts none of a job's own work
LOADING = "Loading weights"
#: How many bytes at the end of a log hold its last bar
TAIL = 4096
#: What has not ended is not drawn as if it had
ALMOST = 0.99


@dataclass
class Expectations:
    """How long the jobs of a run are expected to take, before any of them has run.

    Args:
        clock: what is known of jobs by their tokens and earlier runs; None if there is no config.
        roots: the studies that the run makes.
    """

    clock: Timings | None = None
    roots: Sequence[str] = ()

    def seconds(self, rule: str, wildcards: Mapping[str, str], record: str | None) -> float:
        """Seconds of a job; `record` is its benchmark file."""
        if self.clock is None:
            return SECONDS.get(rule, OTHER)
        known = self.clock.of(rule, wildcards, 0, record)
        if known.source == "scaled":  # from jobs that may have spent all their time on their start
            known = self.clock.estimated(rule, wildcards, 0)
        return SECONDS.get(rule, OTHER) if known.seconds is None else known.seconds

    def mean(self, rule: str) -> float:
        """Mean seconds of the jobs of a rule."""
        jobs = [job for job in self._jobs() if job[0] == rule] if rule in FLOP else []
        times = [self.seconds(*job, None) for job in jobs]
        return sum(times) / len(times) if times else SECONDS.get(rule, OTHER)

    def _jobs(self) -> list[tuple[str, dict[str, str]]]:
        if self.clock is None:
            return []
        config = self.clock.sizes.config
        modelled = [root for root in self.roots if hasattr(config.studies[root], "scoring")]
        return [job for root in modelled for job in costs.jobs(config, root)]


def expectations(command: Sequence[str]) -> Expectations:
    """What is expected of the run that a command line of Snakemake starts in this folder."""
    try:
        config = files.load(command)
    except InputError:
        return Expectations()
    clock = Timings(costs.Sizes(config), lambda output: None, FLOPS)
    return Expectations(clock, made(config, command))


def made(config: Config, command: Sequence[str]) -> list[str]:
    """The studies that have a target on the command line, with the studies inside them."""
    roots = [root for root in config.studies if any(x.startswith(f"{root}/") for x in command)]
    deepest = [root for root in roots if not any(x.startswith(f"{root}/") for x in roots)]
    return [one for root in deepest for one in [root, *job_params.parts(config, root)]]


@dataclass
class Running:
    """A job that runs: its rule, its name for people, and when it began."""

    rule: str
    name: str
    cores: int
    began: float
    expected: float
    log: str = ""


class Bar(NamedTuple):
    """How far the run or a job of it has come."""

    name: str
    share: float
    detail: str


@dataclass
class Progress:
    """The jobs of a run. All times are in seconds since any fixed moment."""

    counts: Mapping[str, int]  # of the jobs to run, by rule
    cores: int
    began: float
    expected: Expectations = field(default_factory=Expectations)
    running: dict[int, Running] = field(default_factory=dict)  # by the job's id
    ended: Counter[str] = field(default_factory=Counter)  # jobs, by rule
    _means: dict[str, float] = field(default_factory=dict)
    _cores: dict[str, int] = field(default_factory=dict)
    _took: dict[str, tuple[float, float]] = field(default_factory=dict)  # measured, expected

    def start(
        self,
        job: int,
        rule: str,
        wildcards: Mapping[str, str],
        cores: int,
        now: float,
        record: str | None = None,
        log: str = "",
    ) -> None:
        """A job starts, for the first time or again; `record` is its benchmark file."""
        values = [value for key, value in wildcards.items() if key != "root" and value]
        expected = self.expected.seconds(rule, wildcards, record)
        self.running[job] = Running(rule, " ".join([rule, *values]), cores, now, expected, log)
        self._cores[rule] = cores

    def fail(self, job: int) -> None:
        """A job fails. It counts as to be run, since it may start again."""
        self.running.pop(job, None)

    def end(self, job: int, now: float) -> str:
        """A job ends well; what it was, and how long it took."""
        done = self.running.pop(job)
        self.ended[done.rule] += 1
        measured, expected = self._took.get(done.rule, (0.0, 0.0))
        self._took[done.rule] = (measured + now - done.began, expected + done.expected)
        return f"{done.name} took {duration(now - done.began)}"

    @property
    def total(self) -> int:
        """The number of all jobs."""
        return sum(self.counts.values())

    def left(self, now: float) -> float:
        """Seconds until all jobs have ended, if the cores are never idle."""
        work = longest = 0.0
        for job in self.running.values():
            rest = max(0.0, job.expected * self._factor(job.rule, now) - (now - job.began))
            work, longest = work + rest * min(job.cores, self.cores), max(longest, rest)
        started = Counter(job.rule for job in self.running.values()) + self.ended
        for rule, count in self.counts.items():
            seconds = self._mean(rule) * self._factor(rule, now)
            cores = min(self._cores.get(rule, 1), self.cores)
            work += max(0, count - started[rule]) * seconds * cores
        return max(work / self.cores, longest)

    def _mean(self, rule: str) -> float:
        if rule not in self._means:
            self._means[rule] = self.expected.mean(rule)
        return self._means[rule]

    def _factor(self, rule: str, now: float) -> float:
        """How much longer than expected the jobs of a rule take here.

        Until one has ended, this is what it is for rules of the same kind: those that run models,
        or the rest. A job that runs longer than expected counts too.
        """
        late = [
            (job.rule, (now - job.began, job.expected))
            for job in self.running.values()
            if now - job.began > job.expected
        ]
        known = [*self._took.items(), *late]
        own = [times for name, times in known if name == rule]
        alike = [times for name, times in known if (name in FLOP) == (rule in FLOP)]
        chosen = own or alike
        expected = sum(expected for _, expected in chosen)
        return sum(measured for measured, _ in chosen) / expected if expected else 1.0

    def line(self, now: float) -> str:
        """How many jobs have ended, the share of the time that has passed, and the time left."""
        if self.ended.total() == self.total:
            return self.summary(now)
        estimate = " (estimate)" if now - self.began < SETTLED else ""
        return f"{self._count}, {self._share(now):.0%}, {self._rest(now)}{estimate}"

    def summary(self, now: float) -> str:
        """How many jobs have ended, and how long that took."""
        return f"{self._count} in {duration(now - self.began)}"

    def bars(self, now: float) -> list[Bar]:
        """How far the run has come, and each job that runs."""
        if self.ended.total() == self.total:
            return []
        whole = Bar(self._count, min(self._share(now), ALMOST), self._rest(now))
        return [whole, *(self._bar(job, now) for job in self.running.values())]

    @property
    def _count(self) -> str:
        return f"{self.ended.total()} of {self.total} jobs"

    def _share(self, now: float) -> float:
        left, passed = self.left(now), now - self.began
        return passed / (passed + left) if passed else 0.0

    def _rest(self, now: float) -> str:
        about = "about " if now - self.began < SETTLED else ""
        return f"{about}{duration(self.left(now))} left"

    def _bar(self, job: Running, now: float) -> Bar:
        passed = now - job.began
        if counted := counts(job.log, job.began):
            share, done = counted
            return Bar(job.name, share, f"{done}, {duration(passed)}")
        expected = job.expected * self._factor(job.rule, now)
        if passed >= ALMOST * expected:
            return Bar(job.name, ALMOST, duration(passed))
        of = f"{duration(passed)} of about {duration(expected)}"
        return Bar(job.name, passed / expected, of)


def counts(log: str, since: float) -> tuple[float, str] | None:
    """The share and the counts that a job's log says last, as tqdm writes them.

    `None` if it says none, or was not written `since` the job began.
    """
    try:
        with open(log, "rb") as stream:
            status = os.fstat(stream.fileno())
            stream.seek(max(0, status.st_size - TAIL))
            tail = re.split("[\r\n]", stream.read().decode(errors="replace"))
    except OSError:
        return None
    whole = tail[1:] if status.st_size > TAIL else tail
    for line in reversed(whole if status.st_mtime >= since else []):
        if (bar := TQDM.search(line)) and not line.startswith(LOADING):
            return int(bar[1]) / 100, bar[2]
    return None


def duration(seconds: float) -> str:
    """A time for people: `45 s`, `12 min` or `2 h 05 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
