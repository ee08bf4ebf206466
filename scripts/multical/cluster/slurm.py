"""Checks of `make doctor` that query SLURM: whether it would run the jobs that we submit."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from multical.cluster import profile, queries
from multical.cluster.checks import ASK, Finding, Findings, fail, ok, warn
from multical.cluster.profile import Request
from multical.cluster.queries import Partition, SlurmError, ask, describe_gpus
from multical.cluster.site import Site
from multical.errors import InputError

CLIENTS = ["sbatch", "squeue", "scancel", "sinfo", "scontrol", "srun"]


def reachable() -> Findings:
    """Whether there is a cluster. Unless the finding is ok, SLURM cannot be queried."""
    missing = [name for name in CLIENTS if not shutil.which(name)]
    if missing == CLIENTS:
        message = "no SLURM here: --profile slurm cannot submit; local runs work"
        remedy = "run on a login node of the cluster, after `module load slurm` if it needs that"
        yield warn("slurm", message, remedy)
        return
    if missing:
        message = f"not on PATH: {', '.join(missing)}"
        yield fail("slurm", message, "install SLURM's clients, or `module load slurm`")
        return
    ping = queries.run("scontrol", "ping")
    # exit code 1 may also mean that only one of two controllers is down
    up = [line for line in ping.stdout.splitlines() if " is UP" in line]
    if up:
        yield ok("slurm", f"{queries.run('scontrol', '-V').stdout.strip()}, {up[0]}")
    elif " is DOWN" in ping.stdout:
        yield fail("slurm", ping.stdout.splitlines()[0], ASK)
    elif "configuration source" in ping.stderr:
        message = "its commands are here, but no slurm.conf: --profile slurm cannot submit"
        yield warn("slurm", f"{message}; local runs work", "run on a login node")
    else:
        yield fail("slurm", queries.reason(ping), ASK)


def polling(settings: dict[str, str], values: dict[str, Any], site: Site) -> Findings:
    """Whether Snakemake can see its jobs end: by squeue, and by sacct where there is one.

    `values` is the profile.
    """
    accounting = _sacct(settings.get("AccountingStorageType", ""), site)
    yield accounting
    interval = 3 * int(values.get("slurm-init-seconds-before-status-checks", 40))
    age = queries.number(settings.get("MinJobAge", "300").split()[0])
    if age >= interval:
        yield ok("squeue", f"remembers a job for {age:.0f} s, {interval} s needed")
        return
    message = f"MinJobAge is {age:.0f} s, and Snakemake needs {interval} s to poll with squeue: "
    remedy = "set slurm-init-seconds-before-status-checks "
    remedy += f"in {profile.FILE} to {age // 3:.0f} or less"
    if accounting.level == "ok":
        message += "it polls with sacct, and hangs if others cancel a job"
        yield warn("squeue", message, remedy)
    else:
        yield fail("squeue", f"{message}it may never see a job end", remedy)


def _sacct(storage: str, site: Site) -> Finding:
    """Whether sacct answers. It need not, since the profile polls with squeue."""
    if not shutil.which("sacct"):
        if site.account:
            return warn("sacct", "not on PATH", "none needed: squeue is enough")
        message = "not on PATH, and Snakemake runs it to guess an account"
        return fail("sacct", message, "set MULTICAL_ACCOUNT, or install sacct")
    if storage in ("", "(null)", "accounting_storage/none"):
        remedy = "none needed while slurmctld is up: squeue is enough; if it was down, and "
        remedy += "Snakemake no longer moves, press Ctrl-C and run it again"
        return warn("sacct", "no accounting storage", remedy)
    try:
        ask("sacct", "-n", "-X", "-S", "now-1hours")
    except SlurmError as error:
        return warn("sacct", str(error), "none needed: squeue is enough")
    return ok("sacct", f"answers ({storage})")


def account(settings: dict[str, str], site: Site) -> Findings:
    """Whether SLURM lists the account for this user, by the same query as the plugin's."""
    user = getpass.getuser()
    if site.account is None:
        enforced = "associations" in settings.get("AccountingStorageEnforce", "")
        if enforced and not _accounts(user):
            message = f"none named; the cluster requires one, and lists none for {user}"
            yield fail("account", message, "ask its administrators for an account")
        else:
            yield ok("account", "none named: SLURM takes the user's default")
        return
    try:
        accounts = _accounts(user)
    except SlurmError as error:
        message = f"{site.account} cannot be looked up ({error}), and Snakemake will refuse it"
        yield fail("account", message, "name no account: MULTICAL_ACCOUNT, slurm/site.yaml")
        return
    if site.account.lower() in accounts:
        yield ok("account", f"{site.account} is one of {user}'s")
    elif accounts:
        message = f"{site.account} is not one of {user}'s: {', '.join(sorted(accounts))}"
        yield fail("account", message, "set MULTICAL_ACCOUNT to one of these")
    else:
        message = f"SLURM lists none for {user}; {site.account} is passed on unchecked"
        yield warn("account", message, "submit one job to see")


def _accounts(user: str) -> set[str]:
    """The accounts of a user; raises `SlurmError` where the plugin would fail too."""
    if not shutil.which("sacctmgr"):
        raise SlurmError("sacctmgr: not on PATH")
    try:
        listed = ask("sacctmgr", "-n", "-s", "list", "user", user, "format=account%256")
    except SlurmError:
        listed = ""
    if not listed.strip():
        listed = ask("sshare", "-U", "--format", "Account%256", "--noheader")
    return set(listed.lower().split())


def qos(settings: dict[str, str], site: Site) -> Findings:
    """Whether the user may use the QOS that the site names, if it names one."""
    if site.qos is None:
        return
    try:
        known = {name for _, names in _associations(site) for name in names}
    except SlurmError as error:
        yield warn("qos", f"{site.qos} cannot be looked up ({error})", "submit one job to see")
        return
    user = getpass.getuser()
    if site.qos.lower() in known:
        yield ok("qos", f"{site.qos} is one of {user}'s")
        return
    message = f"{site.qos} is not one of {user}'s: {', '.join(sorted(known)) or 'SLURM lists none'}"
    enforced = "qos" in settings.get("AccountingStorageEnforce", "")
    yield (fail if enforced else warn)("qos", message, "set MULTICAL_QOS to one of these, or none")


def _associations(site: Site) -> list[tuple[str, list[str]]]:
    """The QOS that jobs have by default, and all that they may have, by the user's associations.

    These are the associations of the site's account, if it names one. Raises `SlurmError`.
    """
    query = ["list", "associations", f"user={getpass.getuser()}", "format=account,defaultqos,qos"]
    rows = []
    for line in ask("sacctmgr", "-n", "-P", *query).lower().split():
        account, default, names = line.split("|")
        allowed = [name for name in names.split(",") if name]
        if account == (site.account or account).lower():
            rows.append((default or (allowed[0] if len(allowed) == 1 else "normal"), allowed))
    return rows


def gpus(settings: dict[str, str], site: Site) -> Findings:
    """Whether the cluster understands how jobs request GPUs."""
    select = settings.get("SelectType", "")
    if site.gpus == "none":
        yield ok("gpus", "none requested: jobs run on CPUs (MULTICAL_GPUS=none)")
    elif site.gpus.startswith("gpus") and select in ("select/cons_res", "select/linear"):
        remedy = "set MULTICAL_GPUS=" + site.gpus.replace("gpus", "gres")
        yield fail("gpus", f"the cluster's {select} does not know --gpus", remedy)
    else:
        yield ok("gpus", f"requested as {site.gpus}, one for each process")


def partitions(
    settings: dict[str, str],
    values: dict[str, Any],
    site: Site,
    runs: Sequence[tuple[str, str]] = (),
) -> Findings:
    """Whether the partitions that jobs go to would run them; one of several is enough.

    `values` is the profile. `runs` are the runs of the jobs, as pairs (root, id), if known.
    """
    yield from would_run(settings, profile.requests(values, runs), site)


def would_run(
    settings: dict[str, str], requests: list[Request], site: Site, key: str = "partitions"
) -> Findings:
    """Whether `site.partitions`, which `key` of slurm/site.yaml sets, would run such jobs."""
    known = queries.partitions()
    variable = f"MULTICAL_{key.upper()}"
    try:
        named = chosen(known, site)
    except InputError as error:
        yield fail(key, str(error), f"set {variable} to some of them")
        return
    model = _model(site)
    suitable = [x.name for x in known.values() if any(node.count_gpus(model) for node in x.nodes)]
    faults = {part.name: list(_faults(part, site, requests, suitable, variable)) for part in named}
    enough = not all(faults.values()) and settings.get("EnforcePartLimits") != "ALL"
    for part in named:
        subject = f"{key.replace('_', ' ').removesuffix('s')} {part.name}"
        for fault in faults[part.name]:
            yield (warn if enough else fail)(subject, *fault)
        if not faults[part.name]:
            up = [node for node in part.nodes if node.usable]
            best = max(up, key=lambda node: (node.count_gpus(""), node.mem_mb))
            message = f"{len(up)} of {len(part.nodes)} nodes take jobs, for "
            message += f"{part.settings['MaxTime']} at most; {best.name} has {best}"
            yield ok(subject, message)
        higher = sorted(x.name for x in known.values() if x.tier > part.tier)
        if higher and part.settings.get("PreemptMode") == "CANCEL":
            message = f"jobs of {', '.join(higher)} may cancel its jobs, and Snakemake then waits "
            remedy = f"set {variable} to another, or press Ctrl-C and start again"
            yield warn(subject, f"{message}for them forever", remedy)


def chosen(known: dict[str, Partition], site: Site) -> list[Partition]:
    """The partitions that jobs go to; raises `InputError` for one that does not exist."""
    names = site.partitions.split(",") if site.partitions else []
    missing = [name for name in names if name not in known]
    default = [part for part in known.values() if part.settings.get("Default") == "YES"]
    if missing:
        raise InputError(f"no partition {missing[0]}; the cluster has {', '.join(sorted(known))}")
    if not names and not default:
        listed = ", ".join(sorted(known))
        raise InputError(f"none named, and none is the cluster's default; it has {listed}")
    return [known[name] for name in names] or default


def _model(site: Site) -> str:
    """The model of GPU that jobs request; empty for any."""
    return site.gpus.partition(":")[2]


def _faults(
    part: Partition, site: Site, requests: list[Request], suitable: list[str], variable: str
) -> Iterator[tuple[str, str]]:
    """Each reason why a partition would not run the jobs, with its remedy.

    `suitable` are the partitions with GPUs of the model that jobs request, and `variable` sets
    which ones they go to.
    """
    another = f"set {variable} to another"
    if (state := part.settings.get("State", "UP")) != "UP":
        yield f"its state is {state}", another
    if refusal := _refusal(part.settings, site):
        yield refusal, another
    less = f"{another}, or request less in {profile.FILE}"
    for request in requests:
        if request.minutes > part.limit("MaxTime"):
            limit = part.settings["MaxTime"]
            yield (
                f"{request.rule} requests {request.minutes} minutes, and the limit is {limit}",
                less,
            )
    model = _model(site)
    able = [node for node in part.nodes if site.gpus == "none" or node.count_gpus(model)]
    if not able and part.nodes:
        gpus = describe_gpus(sum((Counter(node.gpus) for node in part.nodes), Counter()))
        message = f"sinfo shows {gpus or 'no GPU'}, and jobs request {model or 'one'}"
        others = f"{variable} to some of {', '.join(suitable)}, or " if suitable else ""
        remedy = f"set {others}MULTICAL_GPUS=none for CPUs"
        yield f"{message} (MULTICAL_GPUS={site.gpus})", remedy
        return
    up = [node for node in able if node.usable]
    if not up:
        states = Counter(node.state for node in able)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        message = f"none of the nodes that jobs need is up ({counts or 'it has no nodes'})"
        yield message, f"wait for them (sinfo -R says why), or {another}"
        return
    best = max(up, key=lambda node: (node.mem_mb, node.count_gpus("")))
    cpus, mem_mb = part.limit("MaxCPUsPerNode"), part.limit("MaxMemPerNode")
    bound = "" if mem_mb >= best.mem_mb else f", of which a job may have {mem_mb:.0f} MB"
    for request in requests:
        if not any(
            request.cpus <= min(node.cpus, cpus)
            and request.mem_mb <= min(node.mem_mb, mem_mb)
            and request.gpus <= node.count_gpus(model)
            for node in up
        ):
            gpus = f", {request.gpus} GPUs" if request.gpus > 1 else ""
            size = f"{request.mem_mb} MB, {request.cpus} CPUs{gpus}"
            message = f"{request.rule} requests {size}; no node has all"
            yield f"{message} ({best.name} has {best}{bound})", less


def _refusal(settings: dict[str, str], site: Site) -> str:
    """Why this user, or the account, may not use a partition; empty if they may."""
    if os.geteuid() == 0:
        if settings.get("DisableRootJobs") == "YES":
            return "root may not submit to it"
    else:
        if settings.get("RootOnly") == "YES":
            return "only root may submit to it"
        groups = settings.get("AllowGroups", "ALL")
        if groups != "ALL" and not _groups() & set(groups.split(",")):
            return f"only the groups {groups} may use it"
    if refusal := _qos_refusal(settings, site):
        return refusal
    name = (site.account or "").lower()
    allowed = settings.get("AllowAccounts", "ALL")
    if name and allowed != "ALL" and name not in allowed.lower().split(","):
        return f"only the accounts {allowed} may use it"
    if name and name in settings.get("DenyAccounts", "").lower().split(","):
        return f"the account {site.account} may not use it"
    return ""


def _qos_refusal(settings: dict[str, str], site: Site) -> str:
    """Why a partition takes no jobs of the site's QOS, or of the user's own; empty if it does."""
    allowed = settings.get("AllowQos", "ALL")
    denied = settings.get("DenyQos", "") if allowed == "ALL" else ""
    if allowed == "ALL" and not denied:
        return ""
    names = {site.qos.lower()} if site.qos else set[str]()
    with suppress(SlurmError):  # without accounting, jobs have no QOS
        names = names or {default for default, _ in _associations(site)}
    found = f"jobs have {', '.join(sorted(names)) or 'none'} (MULTICAL_QOS sets it)"
    if allowed != "ALL" and not names & set(allowed.lower().split(",")):
        return f"only the QOS {allowed} may use it, and {found}"
    if denied and names and names <= set(denied.lower().split(",")):
        return f"the QOS {denied} may not use it, and {found}"
    return ""


def _groups() -> set[str]:
    names = set()
    for group in {os.getegid(), *os.getgroups()}:
        with suppress(KeyError):  # a group without a name
            names.add(grp.getgrgid(group).gr_name)
    return names
