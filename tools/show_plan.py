"""Show which jobs would run for a target, why, and what they take, before anything is submitted.

Run it in the folder that holds the Snakefile. It writes nothing and takes no lock. A time is
recorded (from the job's own last run), scaled (by tokens, from recorded jobs of the same rule and
model), estimated (from the model's size and tokens), or not known.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical.config import files
from multical.dag import dryrun
from multical.dag.dryrun import Job, counted
from multical.dag.reasons import first_few
from multical.errors import InputError, program
from multical.scoring.prices import Bill
from multical.workflow import job_params, timings
from multical.workflow.costs import Sizes, passing
from multical.workflow.timings import Duration, Timings

ROW = "  {:<34} {:>4}  {:<8} {:>11} {:>11} {:>10}  {}"
SUM = "  {:<12} {:<22} {:<16} {:>5} {:>9} {:>9} {:>9} {:>10}"
NOT_KNOWN = "not known"
#: Bytes from which on a part of the study is listed
LARGE = 5e7


@dataclass(frozen=True)
class Cost:
    """A job and how long it will take."""

    job: Job
    time: Duration


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    args = arguments()
    plan = dryrun.run(args.target, args.profile, sys.argv[1:])
    if not plan.jobs:
        print(f"{args.target}: nothing to be done")
        return
    sizes = Sizes(files.load(sys.argv[1:]))
    clock = Timings(sizes, plan.settings, args.flops, timings.CARDS[args.card or timings.CARD])
    jobs = [on_a_card(job) for job in plan.jobs] if args.card else plan.jobs
    costs = [Cost(job, clock.of(job.rule, job.wildcards, job.gpus, job.record)) for job in jobs]
    here = sum(job.local for job in plan.jobs)
    print(
        f"{args.target}: {counted(len(costs), 'job')}, {len(costs) - here} submitted and {here} "
        f"beside Snakemake (profile {args.profile})"
    )
    for title, lines in (
        ("Why", dryrun.explain(plan.jobs)),
        ("What it takes", table(costs)),
        ("How the estimates add up", sums(costs, clock)),
        ("What is asked of APIs", apis(plan.jobs, sizes)),
        ("In all", totals(costs, sizes)),
        ("Where the times are from", notes(costs, clock)),
    ):
        if rows := list(lines):
            print(f"\n{title}", *rows, sep="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[files.options()],
    )
    parser.add_argument("target", help="a file of a study, or a rule")
    parser.add_argument(
        "--profile", default="slurm", help="as for snakemake; none: all jobs run here"
    )
    parser.add_argument(
        "--card",
        choices=timings.CARDS,
        help="the GPU of jobs that run a model, whose bfloat16 peak estimates take a share of "
        f"(default: {timings.CARD} for jobs that request GPUs)",
    )
    parser.add_argument(
        "--flops",
        type=rate,
        metavar="F",
        help=f"FLOP/s of a job, for estimates (default: by the card with a GPU, "
        f"{timings.CPU_FLOPS:.3g} without: our assumptions)",
    )
    return parser.parse_args()


def on_a_card(job: Job) -> Job:
    """A job with a GPU if it runs a model."""
    return replace(job, gpus=job.gpus or 1) if job.rule in timings.FLOP else job


def rate(text: str) -> float:
    """A positive number, for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text}, expected a positive number")
    return value


def table(costs: list[Cost]) -> Iterator[str]:
    """A row for each rule and source of its times."""
    groups: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    for cost in costs:
        groups[cost.job.rule, cost.time.source].append(cost)
    yield ROW.format("rule", "jobs", "where", "all", "longest", "GPU-hours", "times are")
    for (rule, source), members in groups.items():
        known = [cost.time.seconds for cost in members if cost.time.seconds is not None]
        yield ROW.format(
            rule,
            len(members),
            "here" if members[0].job.local else "cluster",
            clock_time(sum(known)) if known else "-",
            clock_time(max(known)) if known else "-",
            f"{gpu_hours(members):.2f}" if known and members[0].job.gpus else "-",
            source + scale(members),
        )


def scale(costs: list[Cost]) -> str:
    """The factors of scaled times, and the number of recorded jobs behind them, at most."""
    scaled = [cost.time for cost in costs if cost.time.source == "scaled"]
    if not scaled:
        return ""
    factors = sorted({f"x{time.factor:.3g}" for time in scaled}, key=lambda x: float(x[1:]))
    between = " to ".join(dict.fromkeys([factors[0], factors[-1]]))
    return f" {between} from {max(time.records for time in scaled)} recorded"


def sums(costs: list[Cost], clock: Timings) -> Iterator[str]:
    """A row for each rule, model and data set of the jobs whose time is estimated."""
    groups: dict[tuple[str, str, str], list[Cost]] = defaultdict(list)
    for cost in costs:
        if cost.time.source == "estimated":
            wildcards = cost.job.wildcards
            run = job_params.run(clock.sizes.config, wildcards["root"], wildcards["run"])
            data = wildcards.get("benchmark", run.sft)
            groups[cost.job.rule, run.model, str(data)].append(cost)
    if groups:
        columns = ("jobs", "tokens", "weights", "FLOP", "GPU-hours")
        yield SUM.format("rule", "model", "data", *columns)
    for (rule, model, data), members in sorted(groups.items()):
        tokens = sum(clock.tokens(rule, cost.job.wildcards) for cost in members)
        weights = clock.sizes.parameters(model)
        flop = timings.FLOP[rule] * weights * tokens
        sizes = (f"{size:.3g}" for size in (tokens, weights, flop))
        hours = f"{gpu_hours(members):.1f}" if members[0].job.gpus else "-"
        yield SUM.format(rule, model, data, len(members), *sizes, hours)


def apis(jobs: list[Job], sizes: Sizes) -> Iterator[str]:
    """Requests, tokens and money of each model behind an API, at most."""
    bills: dict[str, list[Bill]] = defaultdict(list)
    for job in jobs:
        if job.rule == "score_api":
            bills[job.wildcards["run"]].append(sizes.bill(**job.wildcards))
    for model, members in bills.items():
        cost = sum(members, Bill()).describe(sizes.config.api(model).access.prices)
        yield f"  {model}, {len(members)} of score_api: {cost}; less what was answered before"


def totals(costs: list[Cost], sizes: Sizes) -> Iterator[str]:
    """Wall time, GPU-hours and disk space of all jobs."""
    for place, local in (("cluster", False), ("here", True)):
        members = [cost for cost in costs if cost.job.local is local]
        if not members:
            continue
        unknown = [cost for cost in members if cost.time.seconds is None]
        wall = sum(cost.time.seconds or 0 for cost in members)
        time = f"{clock_time(wall)} of wall time, one after another"
        if any(cost.job.gpus for cost in members):
            time += f"; {gpu_hours(members):.2f} GPU-hours"
        if len(unknown) == len(members):
            time = "time not known"
        elif unknown:
            time += f"; without {len(unknown)} whose time is not known"
        yield f"  {place}: {counted(len(members), 'job')}, {time}"
    yield from disk([cost.job for cost in costs], sizes)


def disk(jobs: list[Job], sizes: Sizes) -> Iterator[str]:
    """Space that the jobs need beyond what they replace, and what is free."""
    parts: dict[str, list[int]] = defaultdict(list)
    free = shutil.disk_usage("results" if Path("results").exists() else ".").free
    temporary = passing(sizes.config)
    try:
        for job in jobs:
            for part, count in sizes.job_bytes(job.rule, job.wildcards).items():
                if not job.made or part == "scratch":
                    parts[part].append(count)
    except InputError as error:
        yield f"  disk: not known ({error}); {free / 1e9:.1f} GB free"
        return
    kept = {part: sum(sizes) for part, sizes in parts.items() if part not in temporary}
    large = ", ".join(f"{part} {gb(count)}" for part, count in kept.items() if count >= LARGE)
    needed = sum(kept.values()) + sum(max(parts[part], default=0) for part in temporary)
    yield (
        f"  disk: {gb(sum(kept.values()))} GB more at most{f' ({large})' if large else ''}, "
        f"beside tables and figures; {gb(free)} GB free{'' if needed < free else ': NOT ENOUGH'}"
    )
    for part, when in temporary.items():
        if sum(parts[part]) >= LARGE:
            yield (
                f"  {part}: {gb(max(parts[part]))} GB more for a run {when}, at most; "
                f"{gb(sum(parts[part]))} for all {len(parts[part])} at once"
            )


def notes(costs: list[Cost], clock: Timings) -> Iterator[str]:
    """Lines that explain the sources of times in the plan, and name what should be fixed."""
    used = {cost.time.source for cost in costs}
    estimated = [cost.job for cost in costs if cost.time.source == "estimated"]
    if "recorded" in used:
        yield "  recorded: the job's own last run, on the machine where it ran then"
    if "scaled" in used:
        yield (
            "  scaled: the median of recorded jobs of the rule and model, by tokens; times "
            "scaled up from short jobs are too long"
        )
    if estimated:
        yield (
            f"  estimated: {timings.START_SECONDS} s to start, then "
            f"{timings.FLOP['train_sft']} FLOP a weight and token for training, "
            f"{timings.FLOP['score_run']} for the rest,"
        )
        yield from rates(estimated, clock)
    if NOT_KNOWN in used:
        reasons = sorted({cost.time.reason for cost in costs if cost.time.reason})
        yield f"  {NOT_KNOWN}: never run here{''.join(f'; {reason}' for reason in reasons)}"
    yield from too_long(costs)


def rates(estimated: list[Job], clock: Timings) -> Iterator[str]:
    """FLOP/s of estimated jobs, and where they are from."""
    if clock.flops:
        yield f"    at {clock.flops:.3g} FLOP/s a job, as given"
        return
    card, percent = clock.card, 100 * timings.SHARE
    told = {
        f"{card.flops:.3g} FLOP/s a GPU ({percent:.0f} % of an {card.name}'s bfloat16 peak)"
        if job.gpus
        else f"{timings.CPU_FLOPS:.3g} FLOP/s a job without GPU"
        for job in estimated
    }
    yield f"    at {', '.join(sorted(told))}: our assumption"
    if any(job.gpus for job in estimated):
        yield f"    an {card.name}'s peak: {card.peak / 1e12:.4g} TFLOP/s ({card.source})"


def too_long(costs: list[Cost]) -> Iterator[str]:
    """The jobs that will reach their time limit, by rule; the first few are named."""
    groups: dict[tuple[str, float], list[str]] = defaultdict(list)
    for cost in costs:
        if cost.job.limit and (cost.time.seconds or 0) > cost.job.limit:
            name = cost.job.wildcards.get("run", "")
            groups[cost.job.rule, cost.job.limit].append(name)
    for (rule, limit), names in groups.items():
        resumes = "" if rule == "evaluate_sft" else "; the next attempt goes on where it was"
        yield (
            f"  {rule} {first_few(names)}: longer than the limit of {clock_time(limit)} "
            f"(runtime in the profile){resumes}"
        )


def gb(size: float) -> str:
    """Bytes as gigabytes."""
    return f"{size / 1e9:.1f}"


def gpu_hours(costs: list[Cost]) -> float:
    """GPU-hours of the jobs whose time is known."""
    return sum(cost.job.gpus * (cost.time.seconds or 0) for cost in costs) / 3600


def clock_time(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


if __name__ == "__main__":
    program(main)
