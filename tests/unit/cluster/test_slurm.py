"""doctor.py's checks of SLURM, on answers like those of Slurm 22.05; no cluster is asked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from multical.cluster import cluster
from support import fake_slurm
from support.checkout import REPO
from support.doctor_house import SMOKE, about, house, one
from support.fake_slurm import Slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """A folder of multical on a healthy cluster."""
    return house(tmp_path, monkeypatch)


def test_commands_without_a_cluster_of_theirs(slurm: Slurm) -> None:
    text = "scontrol: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
    text += "scontrol: fatal: Could not establish a configuration source"
    slurm.says("scontrol ping", text, code=1)
    found = one("slurm")
    assert found.level == "warning"
    assert "no slurm.conf" in found.said
    assert about("sacct") == about("partition gpu") == []


def test_a_controller_that_is_down(slurm: Slurm) -> None:
    down = "Slurmctld(primary) at head is DOWN"
    stars = "*****************************************"
    slurm.does(
        "scontrol ping", f"printf '{down}\\n{stars}\\n** RESTORE SLURMCTLD DAEMON **\\n'; exit 1"
    )
    found = one("slurm")
    assert (found.level, found.said) == ("error", down)
    assert about("sacct") == []
    slurm.does("scontrol ping", f"printf '{down}\\nSlurmctld(backup) at b is UP\\n'; exit 1")
    assert one("slurm").said == "slurm-wlm 22.05.8, Slurmctld(backup) at b is UP"


def test_a_controller_that_does_not_answer(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    slurm.does("scontrol ping", "exec /bin/sleep 5")
    assert one("slurm").said == "scontrol: no answer in 0.2 s"
    slurm.says("scontrol ping", "Slurmctld(primary) at head is UP")
    slurm.does(fake_slurm.SINFO, "exec /bin/sleep 5")
    assert one("partitions").said == "sinfo: no answer in 0.2 s"
    refused = "slurm_load_partitions: Unable to contact slurm controller (connect failure)"
    slurm.says(fake_slurm.SHOW_CONFIG, refused, code=1)
    assert str(slurm.folder) not in about("slurm")[1].said
    assert about("slurm")[1].said == f"scontrol: {refused}"


def test_a_missing_command(slurm: Slurm) -> None:
    slurm.remove("scancel")
    assert one("slurm").said == "not on PATH: scancel"


def test_sacct(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one("sacct").level == "ok"
    slurm.says("sacct -n -X -S now-1hours", "sacct: error: slurmdbd: refused\nmore", code=1)
    found = one("sacct")
    assert (found.level, found.said) == ("warning", "sacct: error: slurmdbd: refused")
    slurm.remove("sacct")
    assert one("sacct").level == "error"  # the plugin runs it to guess an account
    monkeypatch.setenv("MULTICAL_ACCOUNT", "lab")
    assert one("sacct").level == "warning"


def test_a_controller_that_forgets_jobs_too_soon(slurm: Slurm) -> None:
    assert one("squeue").said == "remembers a job for 300 s, 60 s needed"
    slurm.edit(fake_slurm.SHOW_CONFIG, "= 300 sec", "= 59 sec")
    found = one("squeue")
    assert found.level == "warning"  # sacct answers
    assert found.cure.endswith("to 19 or less")
    slurm.remove("sacct")
    assert one("squeue").level == "error"
    profile = Path("slurm/profile.yaml")
    profile.write_text(profile.read_text().replace("checks: 20", "checks: 19"))
    assert one("squeue").level == "ok"


@pytest.mark.parametrize(
    ("account", "level", "said"),
    [
        ("", "ok", "none named"),
        ("lab", "ok", "lab is one of ada's"),
        ("SHARED", "ok", "SHARED is one of ada's"),
        ("other", "error", "other is not one of ada's: lab, shared"),
    ],
)
def test_account(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, account: str, level: str, said: str
) -> None:
    monkeypatch.setenv("MULTICAL_ACCOUNT", account)
    found = one("account")
    assert (found.level, found.said[: len(said)]) == (level, said)


def test_an_account_that_nobody_can_look_up(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTICAL_ACCOUNT", "lab")
    slurm.says(fake_slurm.SACCTMGR, fake_slurm.NO_ACCOUNTING, code=1)
    assert one("account").level == "ok"  # sshare knows it
    slurm.says(fake_slurm.SSHARE, "")
    assert one("account").level == "warning"
    slurm.says(fake_slurm.SSHARE, fake_slurm.NO_ACCOUNTING, code=1)
    assert one("account").level == "error"
    slurm.says(fake_slurm.SSHARE, f"{'lab':>256} ")
    slurm.remove("sacctmgr")  # which the plugin does not survive
    assert "sacctmgr: not on PATH" in one("account").said


def test_a_cluster_that_insists_on_an_account(slurm: Slurm) -> None:
    enforce = "AccountingStorageEnforce = "
    slurm.edit(fake_slurm.SHOW_CONFIG, f"{enforce}none", f"{enforce}associations,limits")
    assert one("account").level == "ok"
    slurm.says(fake_slurm.SACCTMGR, "")
    slurm.says(fake_slurm.SSHARE, "")
    assert "lists none for ada" in one("account").said


def test_the_default_partition_and_none(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTICAL_PARTITIONS", "")
    monkeypatch.setenv("MULTICAL_GPUS", "none")
    found = one("partition cpu")
    assert found.said.startswith("2 of 2 nodes take jobs, for 1-00:00:00 at most; cpu1 has 2 CPUs")
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "Default=YES", "Default=NO")
    assert "none is the cluster's default" in one("partitions").said


def test_gpus_that_a_partition_lacks(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTICAL_PARTITIONS", "cpu")
    found = one("partition cpu")
    assert found.level == "error"
    assert found.cure == "set MULTICAL_PARTITIONS to some of gpu, or MULTICAL_GPUS=none for CPUs"
    monkeypatch.setenv("MULTICAL_PARTITIONS", "cpu,gpu")
    assert one("partition cpu").level == "warning"
    assert one("partition gpu").level == "ok"
    slurm.edit(fake_slurm.SHOW_CONFIG, "= ANY", "= ALL")
    assert one("partition cpu").level == "error"


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
    assert one("partition gpu").level == level


def test_gpus_are_counted() -> None:
    counted = cluster.gpus_of("gpu:v100:2(S:0,2),gpu:a100:2,gpu:a100:1,shard:8")
    assert counted == {"v100": 2, "a100": 3}
    assert cluster.gpus_of("gpu:tesla:2(IDX:0-1)") == {"tesla": 2}
    assert cluster.gpus_of("gpu:2") == {"": 2}
    assert cluster.gpus_of("(null)") == cluster.gpus_of("gpu:0") == {}


def test_a_selector_that_does_not_know_gpus(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm.edit(fake_slurm.SHOW_CONFIG, "select/cons_tres", "select/cons_res")
    assert one("gpus").cure == "set MULTICAL_GPUS=gres"
    monkeypatch.setenv("MULTICAL_GPUS", "gres")
    assert one("gpus").level == "ok"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("State=UP", "State=DRAIN", "its state is DRAIN"),
        ("MaxTime=1-00:00:00", "MaxTime=03:59:59", "train_sft asks for 240 minutes, and its limit"),
        ("MaxTime=1-00:00:00", "MaxTime=30:00", "train_sft asks for 240 minutes"),
        ("AllowGroups=ALL", "AllowGroups=no_such_group", "only the groups no_such_group may use"),
        ("RootOnly=NO", "RootOnly=YES", "only root may submit to it"),
        ("AllowAccounts=ALL", "AllowAccounts=others", "only the accounts others may use it"),
        ("AllowAccounts=ALL", "DenyAccounts=LAB", "the account lab may not use it"),
        ("MaxMemPerNode=UNLIMITED", "MaxMemPerNode=9999", "of which a job may have 9999 MB"),
    ],
)
def test_a_partition_that_refuses(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    monkeypatch.setenv("MULTICAL_ACCOUNT", "lab")
    slurm.edit(fake_slurm.SHOW_PARTITIONS, old, new)
    found = about("partition gpu")
    assert {one.level for one in found} == {"error"}
    assert said in found[0].said


def test_root_is_refused_by_its_own_rule(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for old, new in [("RootOnly=NO", "RootOnly=YES"), ("AllowGroups=ALL", "AllowGroups=x")]:
        slurm.edit(fake_slurm.SHOW_PARTITIONS, old, new)
    assert one("partition gpu").level == "ok"
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "DisableRootJobs=NO", "DisableRootJobs=YES")
    assert one("partition gpu").said == "root may not submit to it"


@pytest.mark.parametrize("limit", ["UNLIMITED", "infinite", "04:00:00", "1-00:00:00"])
def test_a_limit_that_suffices(slurm: Slurm, limit: str) -> None:
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "MaxTime=1-00:00:00", f"MaxTime={limit}")
    assert one("partition gpu").level == "ok"


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (("drain", "down*"), "takes any (1 down*, 1 drain)"),
        (("idle*", "drng"), "takes any (1 drng, 1 idle*)"),
        (("idle~", "drain"), "1 of 2 nodes take jobs"),
        (("mix#", "alloc"), "2 of 2 nodes take jobs"),
        (("plnd", "maint"), "1 of 2 nodes take jobs"),
    ],
)
def test_nodes_that_are_away(slurm: Slurm, states: tuple[str, str], said: str) -> None:
    for node, old, new in zip(("gpu1", "gpu2"), ("idle", "alloc"), states, strict=True):
        slurm.edit(fake_slurm.SINFO, f"{node}|{old}", f"{node}|{new}")
    found = one("partition gpu")
    assert said in found.said
    assert (found.level == "error") == ("takes any" in said)


def test_nodes_that_are_too_small(slurm: Slurm) -> None:
    slurm.edit(fake_slurm.SINFO, "|2|30000|gpu:1", "|32+|257000+|gpu:1")
    assert "32 CPUs, 257000 MB, gpu x 1" in one("partition gpu").said
    slurm.edit(fake_slurm.SINFO, "257000+", "9999")
    assert one("partition gpu").said == (
        "train_sft asks for 10000 MB and CPUs: 2; no node gives both "
        "(gpu1 has 32 CPUs, 9999 MB, gpu x 1)"
    )


def test_threads_that_no_node_has(slurm: Slurm) -> None:
    profile = Path("slurm/profile.yaml")
    profile.write_text(profile.read_text().replace("{train_sft: 2}", "{train_sft: 3}"))
    found = one("partition gpu")
    assert found.level == "error"
    assert found.said.startswith("train_sft asks for 10000 MB and CPUs: 3; no node gives both")
    slurm.edit(fake_slurm.SINFO, "gpu2|alloc|2|", "gpu2|alloc|3|")
    assert one("partition gpu").level == "ok"
    unlimited = "MaxCPUsPerNode=UNLIMITED"
    slurm.edit(fake_slurm.SHOW_PARTITIONS, unlimited, "MaxCPUsPerNode=2")
    assert one("partition gpu").level == "error"


def test_a_study_s_own_needs(slurm: Slurm) -> None:
    """The doctor of a study asks for the most that any of its runs does: memory and GPUs."""
    shutil.copy(REPO / cluster.PROFILE, cluster.PROFILE)
    assert one("partition gpu", SMOKE).level == "ok"
    found = about("partition gpu", "results")
    # the fake cluster's nodes have 30000 MB and one GPU
    assert found[0].said.startswith(
        "train_sft asks for 148180 MB and CPUs: 2 and GPUs: 4; no node gives all (gpu1 has "
    )
    slurm.edit(fake_slurm.SINFO, "|2|30000|gpu:1", "|32|500000|gpu:3")
    assert one("partition gpu", "results").said.startswith("train_sft asks for 148180 MB")
    slurm.edit(fake_slurm.SINFO, "gpu:3", "gpu:a100:4")
    assert one("partition gpu", "results").level == "ok"


def test_a_large_node_without_gpus_is_no_help(slurm: Slurm) -> None:
    slurm.edit(fake_slurm.SINFO, "gpu1|idle|2|30000|gpu:1", "gpu1|idle|64|900000|(null)")
    slurm.edit(fake_slurm.SINFO, "gpu2|alloc|2|30000|gpu:1", "gpu2|alloc|64|5000|gpu:1")
    assert "train_sft asks for 10000 MB" in one("partition gpu").said


def test_what_the_profile_asks_for() -> None:
    profile = {
        "default-resources": {"runtime": "30 * attempt", "mem_mb": "2000 * attempt"},
        "set-threads": {"train": 4},
        "set-resources": {"train": {"runtime": "4h"}, "score": {"mem_mb": 700}},
    }
    train, score = cluster.requests(profile)
    assert train == cluster.Request("train", 240, 2000, 4)
    assert score == cluster.Request("score", 30, 700, 1)
    own = {"mem_mb": "1500.4 if wildcards.run == 'b' else 9", "gres": "'gpu:a100:' + str(4)"}
    (asked,) = cluster.requests({"set-resources": {"x": own}}, [("r", "a"), ("r", "b")])
    assert asked == cluster.Request("x", 0, 1500, 1, 4)


def test_a_partition_whose_preempted_jobs_are_cancelled(slurm: Slurm) -> None:
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "PreemptMode=REQUEUE", "PreemptMode=CANCEL")
    assert [found.level for found in about("partition gpu")] == ["ok"]  # nobody is above it
    urgent = fake_slurm.PARTITION.format(name="urgent", default="NO").replace("Tier=1", "Tier=9")
    slurm.says(fake_slurm.SHOW_PARTITIONS, fake_slurm.PARTITIONS + "\n" + urgent)
    assert [found.level for found in about("partition gpu")] == ["ok"]
    slurm.edit(fake_slurm.SHOW_PARTITIONS, "PreemptMode=REQUEUE", "PreemptMode=CANCEL")
    found = about("partition gpu")
    assert [one.level for one in found] == ["ok", "warning"]
    assert found[1].said.startswith("jobs of urgent may cancel its jobs")
