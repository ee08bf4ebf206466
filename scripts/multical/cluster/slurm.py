"""Checks of `make doctor` that ask SLURM: whether it would take the jobs that we send."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from multical.cluster import cluster
from multical.cluster.checks import ASK, Finding, Findings
from multical.cluster.cluster import PROFILE, Partition, Request, SlurmError, ask, tally
from multical.cluster.site import Site
from multical.errors import InputError

CLIENTS = ["sbatch", "squeue", "scancel", "sinfo", "scontrol", "srun"]


def reachable() -> Findings:
    """Whether there is a cluster; nothing but ok means that no more can be asked."""
    missing = [name for name in CLIENTS if not shutil.which(name)]
    if missing == CLIENTS:
        yield Finding(
            "warning",
            "slurm",
            "no SLURM here: --profile slurm cannot submit; local runs work",
            "run on a login node of the cluster, after `module load slurm` if it needs that",
        )
        return
    if missing:
        told = f"not on PATH: {', '.join(missing)}"
        yield Finding("error", "slurm", told, "install SLURM's clients, or `module load slurm`")
        return
    answer = cluster.run("scontrol", "ping")
    # exit code 1 may also mean that only one of two controllers is down
    if " is UP" in answer.stdout:
        controller = next(line for line in answer.stdout.splitlines() if " is UP" in line)
        yield Finding(
            "ok", "slurm", f"{cluster.run('scontrol', '-V').stdout.strip()}, {controller}"
        )
    elif " is DOWN" in answer.stdout:
        yield Finding("error", "slurm", answer.stdout.splitlines()[0], ASK)
    elif "configuration source" in answer.stderr:
        told = "its commands are here, but no slurm.conf: --profile slurm cannot submit"
        yield Finding("warning", "slurm", f"{told}; local runs work", "run on a login node")
    else:
        yield Finding("error", "slurm", cluster.reason(answer), ASK)


def polling(about: dict[str, str], profile: dict[str, Any], site: Site) -> Findings:
    """Whether Snakemake can see its jobs end: by squeue, and by sacct if that is there."""
    accounting = _sacct(about.get("AccountingStorageType", ""), site)
    yield accounting
    interval = 3 * int(profile.get("slurm-init-seconds-before-status-checks", 40))
    age = cluster.number(about.get("MinJobAge", "300").split()[0])
    if age >= interval:
        yield Finding("ok", "squeue", f"remembers a job for {age:.0f} s, {interval} s needed")
        return
    told = f"MinJobAge is {age:.0f} s, and Snakemake needs {interval} s to poll with squeue: "
    cure = f"set slurm-init-seconds-before-status-checks in {PROFILE} to {age // 3:.0f} or less"
    if accounting.level == "ok":
        told += "it polls with sacct, and hangs if others cancel a job"
        yield Finding("warning", "squeue", told, cure)
    else:
        yield Finding("error", "squeue", told + "it may never see a job end", cure)


def _sacct(storage: str, site: Site) -> Finding:
    """Whether sacct answers. The profile polls with squeue, so that it need not."""
    if not shutil.which("sacct"):
        if site.account:
            return Finding("warning", "sacct", "not on PATH", "none needed: squeue is enough")
        told = "not on PATH, and Snakemake runs it to guess an account"
        return Finding("error", "sacct", told, "set MULTICAL_ACCOUNT, or install sacct")
    if storage in ("", "(null)", "accounting_storage/none"):
        cure = "none needed while slurmctld is up: squeue is enough; if it was away, and "
        cure += "Snakemake no longer moves, Ctrl-C and run it again"
        return Finding("warning", "sacct", "no accounting storage", cure)
    try:
        ask("sacct", "-n", "-X", "-S", "now-1hours")
    except SlurmError as error:
        return Finding("warning", "sacct", str(error), "none needed: squeue is enough")
    return Finding("ok", "sacct", f"answers ({storage})")


def account(about: dict[str, str], site: Site) -> Findings:
    """Whether SLURM knows the account for this user, as the plugin will ask."""
    user = getpass.getuser()
    if site.account is None:
        if "associations" in about.get("AccountingStorageEnforce", "") and not _accounts(user):
            told = f"none named, and the cluster, which insists on one, lists none for {user}"
            yield Finding("error", "account", told, "ask its administrators for an account")
        else:
            yield Finding("ok", "account", "none named: SLURM takes the user's default")
        return
    try:
        known = _accounts(user)
    except SlurmError as error:
        told = f"{site.account} cannot be looked up ({error}), and Snakemake will refuse it"
        yield Finding(
            "error", "account", told, "name no account: MULTICAL_ACCOUNT, slurm/site.yaml"
        )
        return
    if site.account.lower() in known:
        yield Finding("ok", "account", f"{site.account} is one of {user}'s")
    elif known:
        told = f"{site.account} is not one of {user}'s: {', '.join(sorted(known))}"
        yield Finding("error", "account", told, "set MULTICAL_ACCOUNT to one of these")
    else:
        told = f"SLURM lists none for {user}; {site.account} is handed on as it is"
        yield Finding("warning", "account", told, "submit one job to see")


def _accounts(user: str) -> set[str]:
    """The accounts of a user; raises `SlurmError` where the plugin would give up too."""
    if not shutil.which("sacctmgr"):
        raise SlurmError("sacctmgr: not on PATH")
    try:
        listed = ask("sacctmgr", "-n", "-s", "list", "user", user, "format=account%256")
    except SlurmError:
        listed = ""
    if not listed.strip():
        listed = ask("sshare", "-U", "--format", "Account%256", "--noheader")
    return set(listed.lower().split())


def partitions(
    about: dict[str, str],
    profile: dict[str, Any],
    site: Site,
    runs: Sequence[tuple[str, str]] = (),
) -> Findings:
    """Whether the partitions that jobs go to would run them; one of several is enough.

    `runs`, (root, id) each, are those that jobs are for, if that is known.
    """
    try:
        known = cluster.partitions()
        own = chosen(known, site)
    except InputError as error:
        yield Finding("error", "partitions", str(error), "set MULTICAL_PARTITIONS to some of them")
        return
    wanted = cluster.requests(profile, runs)
    _, _, model = site.gpus.partition(":")
    having = [one.name for one in known.values() if any(x.offers(model) for x in one.nodes)]
    faults = {one.name: list(_faults(one, site, wanted, having)) for one in own}
    enough = not all(faults.values()) and about.get("EnforcePartLimits") != "ALL"
    for one in own:
        what = f"partition {one.name}"
        for said, cure in faults[one.name]:
            yield Finding("warning" if enough else "error", what, said, cure)
        if not faults[one.name]:
            best = max(one.up, key=lambda node: (sum(node.gpus.values()), node.mem_mb))
            told = f"{len(one.up)} of {len(one.nodes)} nodes take jobs, for {one.about['MaxTime']}"
            yield Finding("ok", what, f"{told} at most; {best.name} has {best}")
        above = [x.name for x in known.values() if x.tier > one.tier]
        if above and one.about.get("PreemptMode") == "CANCEL":
            said = f"jobs of {', '.join(sorted(above))} may cancel its jobs, and Snakemake then "
            said += "waits for them for ever"
            cure = "set MULTICAL_PARTITIONS to another, or press Ctrl-C and start again"
            yield Finding("warning", what, said, cure)


def chosen(known: dict[str, Partition], site: Site) -> list[Partition]:
    """The partitions that jobs go to; raises `InputError` for one that is not there."""
    names = ", ".join(sorted(known))
    if site.partitions is None:
        default = [one for one in known.values() if one.about.get("Default") == "YES"]
        if not default:
            raise InputError(f"none named, and none is the cluster's default; it has {names}")
        return default
    for name in site.partitions.split(","):
        if name not in known:
            raise InputError(f"no partition {name}; the cluster has {names}")
    return [known[name] for name in site.partitions.split(",")]


def gpus(about: dict[str, str], site: Site) -> Findings:
    """Whether the cluster understands how jobs ask for GPUs."""
    select = about.get("SelectType", "")
    if site.gpus == "none":
        yield Finding("ok", "gpus", "none asked for: jobs run on CPUs (MULTICAL_GPUS=none)")
    elif site.gpus.startswith("gpus") and select in ("select/cons_res", "select/linear"):
        cure = "set MULTICAL_GPUS=" + site.gpus.replace("gpus", "gres")
        yield Finding("error", "gpus", f"the cluster's {select} does not know --gpus", cure)
    else:
        told = f"asked for in the style {site.gpus}, one for each process"
        yield Finding("ok", "gpus", told)


def _faults(
    one: Partition, site: Site, wanted: list[Request], having: list[str]
) -> Iterator[tuple[str, str]]:
    """Why a partition would not run the jobs, and what to do about it.

    `having` are the partitions with such GPUs as jobs ask for.
    """
    other = "set MULTICAL_PARTITIONS to another"
    if (state := one.about.get("State", "UP")) != "UP":
        yield f"its state is {state}", other
    if refused := _refused(one.about, site):
        yield refused, other
    less = f"{other}, or ask for less in {PROFILE}"
    for asked in wanted:
        if asked.minutes > one.limit("MaxTime"):
            limit = one.about["MaxTime"]
            yield f"{asked.rule} asks for {asked.minutes} minutes, and its limit is {limit}", less
    style, _, model = site.gpus.partition(":")
    able = [node for node in one.nodes if style == "none" or node.offers(model)]
    if not able and one.nodes:
        seen = tally(one.models) or "no GPU"
        said = f"sinfo shows {seen}, and jobs ask for {model or 'one'} (MULTICAL_GPUS={site.gpus})"
        place = f"MULTICAL_PARTITIONS to some of {', '.join(having)}, or " if having else ""
        yield said, f"set {place}MULTICAL_GPUS=none for CPUs"
        return
    up = [node for node in able if node.usable]
    if not up:
        states = Counter(node.state for node in able)
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        said = f"none of the nodes that jobs need takes any ({told or 'it has no nodes'})"
        yield said, f"wait for them (sinfo -R says why), or {other}"
        return
    cpus, mem_mb = one.limit("MaxCPUsPerNode"), one.limit("MaxMemPerNode")
    for asked in wanted:
        if not any(node.holds(asked, cpus, mem_mb, model) for node in up):
            best = max(up, key=lambda node: (node.mem_mb, sum(node.gpus.values())))
            bound = "" if mem_mb >= best.mem_mb else f", of which a job may have {mem_mb:.0f} MB"
            several = f" and GPUs: {asked.gpus}" if asked.gpus > 1 else ""
            said = f"{asked.rule} asks for {asked.mem_mb} MB and CPUs: {asked.cpus}{several}; "
            every = "all" if several else "both"
            yield f"{said}no node gives {every} ({best.name} has {best}{bound})", less


def _refused(about: dict[str, str], site: Site) -> str:
    """Why this user, or the account, may not use a partition; empty if they may."""
    root = os.geteuid() == 0
    if not root and about.get("RootOnly") == "YES":
        return "only root may submit to it"
    if root and about.get("DisableRootJobs") == "YES":
        return "root may not submit to it"
    groups = about.get("AllowGroups", "ALL")
    if not root and groups != "ALL" and not _groups() & set(groups.split(",")):
        return f"only the groups {groups} may use it"
    if site.account is None:
        return ""
    own = site.account.lower()
    allowed = about.get("AllowAccounts", "ALL")
    if allowed != "ALL" and own not in allowed.lower().split(","):
        return f"only the accounts {allowed} may use it"
    if own in about.get("DenyAccounts", "").lower().split(","):
        return f"the account {site.account} may not use it"
    return ""


def _groups() -> set[str]:
    names = set()
    for group in {os.getegid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(group).gr_name)
        except KeyError:  # a group without a name
            continue
    return names
