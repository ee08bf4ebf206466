"""doctor.py's checks of SLURM, on answers like those of Slurm 22.05; no cluster is asked."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import pytest

from multical.cluster import profile, queries
from support import fake_slurm
from support.checkout import REPO
from support.doctor_house import SMOKE, finding, findings
from support.fake_slurm import Slurm


def test_commands_without_a_cluster(slurm: Slurm) -> None:
    text = "scontrol: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
    text += "scontrol: fatal: Could not establish a configuration source"
    slurm.says("scontrol ping", text, code=1)
    line = finding("slurm")
    assert line.level == "warning"
    assert "no slurm.conf" in line.message
    assert findings("sacct") == findings("partition gpu") == []


def test_a_controller_that_is_down(slurm: Slurm) -> None:
    down = "Slurmctld(primary) at head is DOWN"
    stars = "*****************************************"
    slurm.does(
        "scontrol ping", f"printf '{down}\\n{stars}\\n** RESTORE SLURMCTLD DAEMON **\\n'; exit 1"
    )
    line = finding("slurm")
    assert (line.level, line.message) == ("error", down)
    assert findings("sacct") == []
    slurm.does("scontrol ping", f"printf '{down}\\nSlurmctld(backup) at b is UP\\n'; exit 1")
    assert finding("slurm").message == "slurm-wlm 22.05.8, Slurmctld(backup) at b is UP"


def test_a_controller_that_does_not_answer(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "TIMEOUT_S", 0.2)
    slurm.does("scontrol ping", "exec /bin/sleep 5")
    assert finding("slurm").message == "scontrol: no answer in 0.2 s"
    slurm.says("scontrol ping", "Slurmctld(primary) at head is UP")
    slurm.does(fake_slurm.SINFO, "exec /bin/sleep 5")
    assert finding("partitions").message == "sinfo: no answer in 0.2 s"
    refused = "slurm_load_partitions: Unable to contact slurm controller (connect failure)"
    slurm.says(fake_slurm.SHOW_CONFIG, refused, code=1)
    assert str(slurm.folder) not in findings("slurm")[1].message
    assert findings("slurm")[1].message == f"scontrol: {refused}"


def test_a_missing_command(slurm: Slurm) -> None:
    slurm.remove("scancel")
    assert finding("slurm").message == "not on PATH: scancel"


def test_sacct(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding("sacct").level == "ok"
    slurm.says("sacct -n -X -S now-1hours", "sacct: error: slurmdbd: refused\nmore", code=1)
    line = finding("sacct")
    assert (line.level, line.message) == ("warning", "sacct: error: slurmdbd: refused")
    slurm.remove("sacct")
    assert finding("sacct").level == "error"  # the plugin runs it to guess an account
    monkeypatch.setenv("MULTICAL_ACCOUNT", "lab")
    assert finding("sacct").level == "warning"


def test_a_controller_that_forgets_jobs_too_soon(slurm: Slurm) -> None:
    assert finding("squeue").message == "remembers a job for 300 s, 60 s needed"
    slurm.edit(fake_slurm.SHOW_CONFIG, "= 300 sec", "= 59 sec")
    line = finding("squeue")
    assert line.level == "warning"  # sacct answers
    assert line.remedy.endswith("to 19 or less")
    slurm.remove("sacct")
    assert finding("squeue").level == "error"
    profile = Path("slurm/profile.yaml")
    profile.write_text(profile.read_text().replace("checks: 20", "checks: 19"))
    assert finding("squeue").level == "ok"


@pytest.mark.parametrize(
    ("account", "level", "message"),
    [
        ("", "ok", "none named"),
        ("lab", "ok", "lab is one of ada's"),
        ("SHARED", "ok", "SHARED is one of ada's"),
        ("other", "error", "other is not one of ada's: lab, shared"),
    ],
)
def test_account(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, account: str, level: str, message: str
) -> None:
    monkeypatch.setenv("MULTICAL_ACCOUNT", account)
    line = finding("account")
    assert (line.level, line.message[: len(message)]) == (level, message)


def test_an_account_that_nobody_can_look_up(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTICAL_ACCOUNT", "lab")
    slurm.says(fake_slurm.SACCTMGR, fake_slurm.NO_ACCOUNTING, code=1)
    assert finding("account").level == "ok"  # sshare knows it
    slurm.says(fake_slurm.SSHARE, "")
    assert finding("account").level == "warning"
    slurm.says(fake_slurm.SSHARE, fake_slurm.NO_ACCOUNTING, code=1)
    assert finding("account").level == "error"
    slurm.says(fake_slurm.SSHARE, f"{'lab':>256} ")
    slurm.remove("sacctmgr")  # which the plugin does not survive
    assert "sacctmgr: not on PATH" in finding("account").message


def test_a_cluster_that_insists_on_an_account(slurm: Slurm) -> None:
    enforce = "AccountingStorageEnforce = "
    slurm.edit(fake_slurm.SHOW_CONFIG, f"{enforce}none", f"{enforce}associations,limits")
    assert finding("account").level == "ok"
    slurm.says(fake_slurm.SACCTMGR, "")
    slurm.says(fake_slurm.SSHARE, "")
    assert "lists none for ada" in finding("account").message


def test_the_default_partition_and_none(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTICAL_PARTITIONS", "")
    monkeypatch.setenv("MULTICAL_GPUS", "none")
    line = finding("partition cpu")
    assert line.message.startswith(
        "2 of 2 nodes take jobs, for 1-00:00:00 at most; cpu1 has 2 CPUs"
    )
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "Default=YES", "Default=NO")
    assert "none is the cluster's default" in finding("partitions").message


def test_gpus_that_a_partition_lacks(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTICAL_PARTITIONS", "cpu")
    line = finding("partition cpu")
    assert line.level == "error"
    assert line.remedy == "set MULTICAL_PARTITIONS to some of gpu, or MULTICAL_GPUS=none for CPUs"
    monkeypatch.setenv("MULTICAL_PARTITIONS", "cpu,gpu")
    assert finding("partition cpu").level == "warning"
    assert finding("partition gpu").level == "ok"
    slurm.edit(fake_slurm.SHOW_CONFIG, "= ANY", "= ALL")
    assert finding("partition cpu").level == "error"


@pytest.mark.parametrize(
    ("gres", "asked", "level"),
    [
        ("gpu:a100:4(S:0-1)", "gres:a100", "ok"),
        ("gpu:a100:4(S:0-1)", "gpus", "ok"),
        ("gpu:a100:4(S:0-1)", "gpus:v100", "error"),
        ("gpu:v100:2(S:0,2),gpu:a100:2,shard:a:8", "gpus:v100", "ok"),
        ("gpu:1", "gres:a100", "error"),
        ("gpu:0", "gpus", "error"),
        ("shard:8", "gpus", "error"),
        ("(null)", "gres", "error"),
    ],
)
def test_gpus_by_model(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, gres: str, asked: str, level: str
) -> None:
    monkeypatch.setenv("MULTICAL_GPUS", asked)
    slurm.edit(fake_slurm.SINFO, "|gpu:1", f"|{gres}")
    assert finding("partition gpu").level == level


def test_times_as_sbatch_reads_them() -> None:
    """In minutes: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS."""
    times = ["90", "01:30", "02:00:00", "2-0", "1-06:30", "1-12:00:30", "UNLIMITED", "2-"]
    day = 24 * 60
    expected = [90, 1.5, 120, 2 * day, day + 390, 1.5 * day + 0.5, math.inf, math.inf]
    assert [queries.number(time) for time in times] == expected


def test_gpus_are_counted() -> None:
    counted = queries.gpus_of("gpu:v100:2(S:0,2),gpu:a100:2,gpu:a100:1,shard:8")
    assert counted == {"v100": 2, "a100": 3}
    assert queries.gpus_of("gpu:tesla:2(IDX:0-1)") == {"tesla": 2}
    assert queries.gpus_of("gpu:2") == {"": 2}
    assert queries.gpus_of("(null)") == queries.gpus_of("gpu:0") == {}


def test_a_selector_that_does_not_know_gpus(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm.edit(fake_slurm.SHOW_CONFIG, "select/cons_tres", "select/cons_res")
    assert finding("gpus").remedy == "set MULTICAL_GPUS=gres"
    monkeypatch.setenv("MULTICAL_GPUS", "gres")
    assert finding("gpus").level == "ok"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("State=UP", "State=DRAIN", "its state is DRAIN"),
        ("MaxTime=1-00:00:00", "MaxTime=03:59:59", "train_sft requests 240 minutes, and the limit"),
        ("MaxTime=1-00:00:00", "MaxTime=30:00", "train_sft requests 240 minutes"),
        ("AllowGroups=ALL", "AllowGroups=no_such_group", "only the groups no_such_group may use"),
        ("RootOnly=NO", "RootOnly=YES", "only root may submit to it"),
        ("AllowAccounts=ALL", "AllowAccounts=others", "only the accounts others may use it"),
        ("AllowAccounts=ALL", "DenyAccounts=LAB", "the account lab may not use it"),
        ("MaxMemPerNode=UNLIMITED", "MaxMemPerNode=9999", "of which a job may have 9999 MB"),
    ],
)
def test_a_partition_that_refuses(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    monkeypatch.setenv("MULTICAL_ACCOUNT", "lab")
    slurm.edit(fake_slurm.SHOW_PARTITIONS, old, new)
    lines = findings("partition gpu")
    assert {x.level for x in lines} == {"error"}
    assert message in lines[0].message


@pytest.mark.parametrize(
    ("limits", "qos", "message"),
    [
        ("AllowQos=high,long", "", "only the QOS high,long may use it, and jobs have normal"),
        ("AllowQos=high,long", "short", "only the QOS high,long may use it, and jobs have short"),
        ("AllowQos=high,long", "long", ""),
        ("AllowQos=normal", "", ""),
        ("AllowQos=ALL DenyQos=Normal", "", "the QOS Normal may not use it, and jobs have normal"),
        ("AllowQos=ALL DenyQos=normal", "long", ""),
    ],
)
def test_a_partition_for_some_qos(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, limits: str, qos: str, message: str
) -> None:
    monkeypatch.setenv("MULTICAL_ACCOUNT", "lab")
    monkeypatch.setenv("MULTICAL_QOS", qos)
    slurm.says(fake_slurm.ASSOCIATIONS, "shared|high|high\nlab||Normal,long")
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "AllowQos=ALL", limits)
    line = finding("partition gpu")
    assert line.level == ("error" if message else "ok")
    if message:
        assert line.message == f"{message or qos} (MULTICAL_QOS sets it)"


def test_the_default_qos_of_a_user(slurm: Slurm) -> None:
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "AllowQos=ALL", "AllowQos=high")
    for told, level in (
        ("lab|high|high,long", "ok"),  # the association's own
        ("lab||high", "ok"),  # its only one
        ("lab||long", "error"),
        ("", "error"),
    ):
        slurm.says(fake_slurm.ASSOCIATIONS, told)
        assert finding("partition gpu").level == level
    slurm.says(fake_slurm.ASSOCIATIONS, fake_slurm.NO_ACCOUNTING, code=1)
    assert finding("partition gpu").message == (
        "only the QOS high may use it, and jobs have none (MULTICAL_QOS sets it)"
    )


def test_a_qos_of_the_site(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings("qos") == []
    monkeypatch.setenv("MULTICAL_QOS", "Long")
    slurm.says(fake_slurm.ASSOCIATIONS, "lab|normal|normal,long")
    assert finding("qos").message == "Long is one of ada's"
    monkeypatch.setenv("MULTICAL_QOS", "high")
    line = finding("qos")
    assert (line.level, line.message) == ("warning", "high is not one of ada's: long, normal")
    slurm.edit(fake_slurm.SHOW_CONFIG, "Enforce = none", "Enforce = associations,limits,qos")
    assert finding("qos").level == "error"
    slurm.says(fake_slurm.ASSOCIATIONS, fake_slurm.NO_ACCOUNTING, code=1)
    assert finding("qos").level == "warning"


def test_root_is_refused_by_its_own_rule(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for old, new in [("RootOnly=NO", "RootOnly=YES"), ("AllowGroups=ALL", "AllowGroups=x")]:
        slurm.edit(fake_slurm.SHOW_PARTITIONS, old, new)
    assert finding("partition gpu").level == "ok"
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "DisableRootJobs=NO", "DisableRootJobs=YES")
    assert finding("partition gpu").message == "root may not submit to it"


@pytest.mark.parametrize("limit", ["UNLIMITED", "infinite", "04:00:00", "1-00:00:00"])
def test_a_limit_that_suffices(slurm: Slurm, limit: str) -> None:
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "MaxTime=1-00:00:00", f"MaxTime={limit}")
    assert finding("partition gpu").level == "ok"


def test_partitions_for_jobs_without_gpus(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings("cpu partition cpu") == []
    monkeypatch.setenv("MULTICAL_CPU_PARTITIONS", "cpu")
    line = finding("cpu partition cpu")
    assert line.level == "ok"
    assert line.message.endswith("for 1-00:00:00 at most; cpu1 has 2 CPUs, 30000 MB")
    assert finding("partition gpu").level == "ok"
    slurm.edit(fake_slurm.SINFO, "|2|30000|(null)", "|2|2999|(null)")
    assert str(finding("cpu partition cpu")) == (
        "error    cpu partition cpu: make submit requests 3000 MB, 1 CPUs; no node has all (cpu1 "
        "has 2 CPUs, 2999 MB) -> set MULTICAL_CPU_PARTITIONS to another, or request less in "
        "slurm/profile.yaml"
    )
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "State=UP", "State=DOWN")
    assert findings("cpu partition cpu")[0].message == "its state is DOWN"
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "MaxTime=1-00:00:00", "MaxTime=30:00")
    assert finding("cpu_partitions").message == (
        "each other job: runs beside Snakemake for up to 30 minutes; found a time limit of 30, "
        "expected more: set cpu_partitions (slurm/site.yaml)"
    )
    monkeypatch.setenv("MULTICAL_CPU_PARTITIONS", "cpu,big")
    line = finding("cpu_partitions")
    assert (line.level, line.message) == ("error", "no partition big; the cluster has cpu, gpu")
    assert line.remedy == "set MULTICAL_CPU_PARTITIONS to some of them"


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (("drain", "down*"), "is up (1 down*, 1 drain)"),
        (("idle*", "drng"), "is up (1 drng, 1 idle*)"),
        (("idle~", "drain"), "1 of 2 nodes take jobs"),
        (("mix#", "alloc"), "2 of 2 nodes take jobs"),
        (("plnd", "maint"), "1 of 2 nodes take jobs"),
    ],
)
def test_nodes_that_take_no_jobs(slurm: Slurm, states: tuple[str, str], message: str) -> None:
    for node, old, new in zip(("gpu1", "gpu2"), ("idle", "alloc"), states, strict=True):
        slurm.edit(fake_slurm.SINFO, f"{node}|{old}", f"{node}|{new}")
    line = finding("partition gpu")
    assert message in line.message
    assert (line.level == "error") == ("is up" in message)


def test_nodes_that_are_too_small(slurm: Slurm) -> None:
    slurm.edit(fake_slurm.SINFO, "|2|30000|gpu:1", "|32+|257000+|gpu:1")
    assert "32 CPUs, 257000 MB, gpu x 1" in finding("partition gpu").message
    slurm.edit(fake_slurm.SINFO, "257000+", "9999")
    assert finding("partition gpu").message == (
        "train_sft requests 10000 MB, 2 CPUs; no node has all (gpu1 has 32 CPUs, 9999 MB, gpu x 1)"
    )


def test_threads_that_no_node_has(slurm: Slurm) -> None:
    profile = Path("slurm/profile.yaml")
    profile.write_text(profile.read_text().replace("{train_sft: 2}", "{train_sft: 3}"))
    line = finding("partition gpu")
    assert line.level == "error"
    assert line.message.startswith("train_sft requests 10000 MB, 3 CPUs; no node has all")
    slurm.edit(fake_slurm.SINFO, "gpu2|alloc|2|", "gpu2|alloc|3|")
    assert finding("partition gpu").level == "ok"
    unlimited = "MaxCPUsPerNode=UNLIMITED"
    slurm.edit(fake_slurm.SHOW_PARTITIONS, unlimited, "MaxCPUsPerNode=2")
    assert finding("partition gpu").level == "error"


def test_a_study_s_own_needs(slurm: Slurm) -> None:
    """The memory and GPUs that `--study` checks are the most that any of its runs requests."""
    shutil.copy(REPO / profile.FILE, profile.FILE)
    assert finding("partition gpu", SMOKE).level == "ok"
    lines = findings("partition gpu", "results")
    # the fake cluster's nodes have 30000 MB and one GPU
    assert lines[0].message.startswith(
        "train_sft requests 148180 MB, 2 CPUs, 4 GPUs; no node has all (gpu1 has "
    )
    slurm.edit(fake_slurm.SINFO, "|2|30000|gpu:1", "|32|500000|gpu:3")
    assert finding("partition gpu", "results").message.startswith("train_sft requests 148180 MB")
    slurm.edit(fake_slurm.SINFO, "gpu:3", "gpu:a100:4")
    assert finding("partition gpu", "results").level == "ok"


def test_a_large_node_without_gpus_is_no_help(slurm: Slurm) -> None:
    slurm.edit(fake_slurm.SINFO, "gpu1|idle|2|30000|gpu:1", "gpu1|idle|64|900000|(null)")
    slurm.edit(fake_slurm.SINFO, "gpu2|alloc|2|30000|gpu:1", "gpu2|alloc|64|5000|gpu:1")
    assert "train_sft requests 10000 MB" in finding("partition gpu").message


def test_requests_of_the_profile() -> None:
    values = {
        "default-resources": {"runtime": "30 * attempt", "mem_mb": "2000 * attempt"},
        "set-threads": {"train": 4},
        "set-resources": {"train": {"runtime": "4h"}, "score": {"mem_mb": 700}},
    }
    train, score = profile.requests(values)
    assert train == profile.Request("train", 240, 2000, 4)
    assert score == profile.Request("score", 30, 700, 1)
    own = {"mem_mb": "1500.4 if wildcards.run == 'b' else 9", "gres": "'gpu:a100:' + str(4)"}
    (asked,) = profile.requests({"set-resources": {"x": own}}, [("r", "a"), ("r", "b")])
    assert asked == profile.Request("x", 0, 1500, 1, 4)


def test_a_partition_whose_preempted_jobs_are_cancelled(slurm: Slurm) -> None:
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "PreemptMode=REQUEUE", "PreemptMode=CANCEL")
    assert [x.level for x in findings("partition gpu")] == ["ok"]  # nobody is above it
    urgent = fake_slurm.PARTITION.format(name="urgent", default="NO").replace("Tier=1", "Tier=9")
    slurm.says(fake_slurm.SHOW_PARTITIONS, fake_slurm.PARTITIONS + "\n" + urgent)
    assert [x.level for x in findings("partition gpu")] == ["ok"]
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "PreemptMode=REQUEUE", "PreemptMode=CANCEL")
    lines = findings("partition gpu")
    assert [x.level for x in lines] == ["ok", "warning"]
    assert lines[1].message.startswith("jobs of urgent may cancel its jobs")
