"""SLURM's commands as small programs that give Slurm 22.05's own answers, to be varied."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

CONFIG = """\
Configuration data as of 2026-11-22T03:30:00
AccountingStorageEnforce = none
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu
AccountingStorageType   = accounting_storage/slurmdbd
EnforcePartLimits       = ANY
MinJobAge               = 300 sec
SelectType              = select/cons_tres
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at head is UP
"""
PARTITION = (
    "PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL "
    "Default={default} QoS=N/A DefaultTime=00:10:00 DisableRootJobs=NO ExclusiveUser=NO "
    "GraceTime=0 Hidden=NO MaxNodes=UNLIMITED MaxTime=1-00:00:00 MinNodes=0 LLN=NO "
    "MaxCPUsPerNode=UNLIMITED Nodes={name}[1-2] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO "
    "ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=REQUEUE State=UP TotalCPUs=4 "
    "TotalNodes=2 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED "
    "MaxMemPerNode=UNLIMITED TRES=cpu=4,mem=60000M,node=2,billing=4,gres/gpu=2"
)
PARTITIONS = "\n".join(
    [PARTITION.format(name="cpu", default="YES"), PARTITION.format(name="gpu", default="NO")]
)
NODES = """\
cpu|cpu1|idle|2|30000|(null)
cpu|cpu2|mix|2|30000|(null)
gpu|gpu1|idle|2|30000|gpu:1
gpu|gpu2|alloc|2|30000|gpu:1
"""
SHOW_CONFIG = "scontrol show config"
SHOW_PARTITIONS = "scontrol -a -o show partition"
SINFO = "sinfo -a -h -N -o %R|%N|%t|%c|%m|%G"
SACCTMGR = "sacctmgr -n -s list user ada format=account%256"
ASSOCIATIONS = "sacctmgr -n -P list associations user=ada format=account,defaultqos,qos"
SSHARE = "sshare -U --format Account%256 --noheader"
NO_ACCOUNTING = """\
You are not running a supported accounting_storage plugin
Only 'accounting_storage/slurmdbd' is supported."""


@dataclass
class Slurm:
    """The commands in `folder`; each answers to its exact arguments, and fails for others."""

    folder: Path
    answers: dict[str, str] = field(default_factory=dict)

    def says(self, command: str, text: str, code: int = 0) -> None:
        """What a command prints, on stderr if it fails."""
        stream = ">&2" if code else ""
        self.does(command, f"/bin/cat {stream} <<'END'\n{text.rstrip()}\nEND\nexit {code}")

    def does(self, command: str, shell: str) -> None:
        """What a command does."""
        self.answers[command] = shell
        name = command.split()[0]
        own = {call: body for call, body in self.answers.items() if call.split()[0] == name}
        cases = [f"'{call.partition(' ')[2]}')\n{body}\n;;" for call, body in own.items()]
        other = f"*) echo '{name}: unexpected' \"$@\" >&2; exit 99;;"
        file = self.folder / name
        file.write_text("\n".join(["#!/bin/sh", 'case "$*" in', *cases, other, "esac", ""]))
        file.chmod(0o755)

    def remove(self, name: str) -> None:
        """Take a command away."""
        (self.folder / name).unlink()

    def edit(self, command: str, old: str, new: str) -> None:
        """Change each place of a text in what a command prints."""
        assert old in self.answers[command], f"{command} does not say {old!r}"
        self.does(command, self.answers[command].replace(old, new))


def bare(folder: Path) -> Path:
    """A folder of commands without SLURM's: what Snakemake's plugin runs as it is imported."""
    folder.mkdir()
    for name in ("bash", "which"):
        (folder / name).symlink_to(str(shutil.which(name, path=os.defpath)))
    return folder


def healthy(folder: Path) -> Slurm:
    """A cluster in good order: `cpu` by default, and `gpu` with a GPU a node."""
    slurm = Slurm(bare(folder))
    for name in ("sbatch", "squeue", "scancel", "srun"):
        slurm.says(name, "")
    slurm.says("scontrol ping", "Slurmctld(primary) at head is UP")
    slurm.says("scontrol -V", "slurm-wlm 22.05.8")
    slurm.says(SHOW_CONFIG, CONFIG)
    slurm.says(SHOW_PARTITIONS, PARTITIONS)
    slurm.says(SINFO, NODES)
    slurm.says("sacct -n -X -S now-1hours", "")
    slurm.says(SACCTMGR, f"{'lab':>256} \n{'Shared':>256} ")
    slurm.says(SSHARE, f"{'lab':>256} ")
    return slurm
