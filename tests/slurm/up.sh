#!/bin/bash
# up.sh - install (apt) and start a real one-machine SLURM cluster, no systemd needed.
#   munged + mariadbd + slurmdbd + slurmctld + several slurmd (virtual nodes), all on loopback.
# Idempotent: running it again starts only what is missing, and exits 0 at once if all is well.
# Usage (root, Debian):  up.sh [--no-dbd]      down with down.sh (same SLURMLAB)
# Partitions: cpu; gpu, whose jobs are preempted (requeued) by those of urgent on the same nodes;
#   scrap, the same but its jobs are preempted by cancelling them.
# Environment:   SLURMLAB    state folder                       [/var/tmp/multical-slurm]
#                CPU_NODES / GPU_NODES  number of virtual nodes  [1 / 2]
#                NODE_CPUS / NODE_MEM / GPU_PER_NODE             [8 / 12000 / 4]
#                PORT_BASE   ctld=PORT_BASE, dbd=+1, mariadb=+2, slurmd=+11...   [16800]
#                READY_S     seconds to wait for idle nodes      [60]
set -u -o pipefail
export PATH=$PATH:/usr/sbin:/sbin   # the daemons' own folders, which a login may lack
trap '' PIPE   # 'up.sh | head' must not stop half way
SLURMLAB=${SLURMLAB:-/var/tmp/multical-slurm}
CPU_NODES=${CPU_NODES:-1} GPU_NODES=${GPU_NODES:-2} NODE_CPUS=${NODE_CPUS:-8}
NODE_MEM=${NODE_MEM:-12000} GPU_PER_NODE=${GPU_PER_NODE:-4} PORT_BASE=${PORT_BASE:-16800} READY_S=${READY_S:-60}
DBD=1; [ "${1:-}" = --no-dbd ] && DBD=0
MARK="# test cluster: written by up.sh"
T0=$(date +%s.%N)
say()  { printf '[up %5.1fs] %s\n' "$(echo "$(date +%s.%N) $T0" | awk '{print $1-$2}')" "$*"; }
die()  { echo "up.sh: ERROR: $*" >&2; exit 1; }
tailf() { [ -s "$1" ] && { echo "--- last lines of $1" >&2; tail -n "${2:-15}" "$1" >&2; }; return 0; }
alive() { # alive PIDFILE COMM : true if the pid in PIDFILE is a live process of that name
  local p; p=$(cat "$1" 2>/dev/null) || return 1
  [ -n "$p" ] && [ -r "/proc/$p/comm" ] && [ "$(cat "/proc/$p/comm")" = "$2" ] &&
    [ "$(awk '/^State/{print $2}' "/proc/$p/status")" != Z ]
}
port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
wait_port() { local i; for ((i=0; i<${2:-30}*5; i++)); do port_free "$1" || return 0; sleep .2; done; return 1; }

[ "$(id -u)" = 0 ] || die "must be run as root (uid is $(id -u))"
# one up.sh at a time (-o: the daemons must not inherit the lock)
if [ -z "${LAB_LOCKED:-}" ]; then
  LAB_LOCKED=1 flock -o -w 180 -E 75 /run/lock/multical-slurm.lock bash "$(readlink -f "$0")" "$@"; rc=$?
  [ $rc = 75 ] && die "another up.sh has held /run/lock/multical-slurm.lock for 180 s"; exit $rc
fi

# ---------------------------------------------------------------- packages
PK=(munge slurm-client slurmctld slurmd slurmdbd slurm-wlm-mysql-plugin mariadb-server-core mariadb-client-core)
need=()
for p in "${PK[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || need+=("$p")
done
if [ ${#need[@]} -gt 0 ]; then
  log=$(mktemp /var/tmp/multical-apt.XXXXXX)
  say "installing: ${need[*]}"
  made_policy=0
  if [ ! -e /usr/sbin/policy-rc.d ]; then   # keep the packages from starting daemons of their own
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; made_policy=1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt_do() { apt-get -o DPkg::Lock::Timeout=180 -o Acquire::Retries=3 "$@" >>"$log" 2>&1; }
  ok=1
  apt_do update || { tailf "$log"; ok=0; }
  [ $ok = 1 ] && { apt_do install -y --no-install-recommends "${need[@]}" || { tailf "$log" 25; ok=0; }; }
  [ $made_policy = 1 ] && rm -f /usr/sbin/policy-rc.d
  [ $ok = 1 ] || die "apt could not install ${need[*]} (full log: $log)"
  rm -f "$log"
  say "packages installed"
fi
for b in munged mariadbd slurmdbd slurmctld slurmd sbatch sacct; do
  command -v $b >/dev/null || [ -x /usr/sbin/$b ] || die "$b is missing although its package is installed"
done
id slurm >/dev/null 2>&1 || die "user 'slurm' is missing (slurm package postinst did not run?)"

# ---------------------------------------------------------------- config
umask 022
other=$(sed -n 's|^StateSaveLocation=\(.*\)/state$|\1|p' /etc/slurm/slurm.conf 2>/dev/null)
[ -n "$other" ] && [ "$other" != "$SLURMLAB" ] && alive "$other/run/slurmctld.pid" slurmctld &&
  die "another lab is running in $other; stop it first: SLURMLAB=$other $(dirname "$0")/down.sh"
mkdir -p "$SLURMLAB"/{state,spool,run,log,mysql} /etc/slurm || die "cannot create $SLURMLAB"
chown slurm: "$SLURMLAB"/{state,run,log,mysql}; chmod 755 "$SLURMLAB" "$SLURMLAB"/spool
runuser -u slurm -- test -x "$SLURMLAB/state" || die "user slurm cannot reach $SLURMLAB (a parent folder is not world-executable)"
for f in slurm.conf slurmdbd.conf gres.conf cgroup.conf; do
  [ -e "/etc/slurm/$f" ] && ! grep -qF "$MARK" "/etc/slurm/$f" && die "/etc/slurm/$f exists and was not written by up.sh; not touching it"
done
[ $((CPU_NODES + GPU_NODES)) -gt 0 ] || die "CPU_NODES + GPU_NODES must be at least 1"
H=$(hostname -s)
ctld=$PORT_BASE dbd=$((PORT_BASE+1)) sql=$((PORT_BASE+2))
nodes=()
w() { # w FILE OWNER MODE : write stdin only if changed
  local t; t=$(mktemp); cat >"$t"
  cmp -s "$t" "$1" || { cp "$t" "$1"; : >"$SLURMLAB/run/.changed"; }   # (a file: w runs in a pipe's subshell)
  rm -f "$t"; chown "$2" "$1"; chmod "$3" "$1"
}
rm -f "$SLURMLAB/run/.changed"
{
  cat <<C
$MARK
ClusterName=testcluster
SlurmctldHost=$H(127.0.0.1)
SlurmctldPort=$ctld
SlurmUser=slurm
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
# cred_expire is also how long a requeued job waits before it may start again (default 120)
AuthInfo=cred_expire=10
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$SLURMLAB/state
SlurmdSpoolDir=$SLURMLAB/spool/%n
SlurmctldPidFile=$SLURMLAB/run/slurmctld.pid
SlurmdPidFile=$SLURMLAB/run/slurmd-%n.pid
SlurmctldLogFile=$SLURMLAB/log/slurmctld.log
SlurmdLogFile=$SLURMLAB/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
MpiDefault=none
# nothing here needs cgroups
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
# scheduling
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=1,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# one slurmd per virtual node, with made-up sizes
SlurmdParameters=config_overrides
GresTypes=gpu
# short timers for tests
SlurmctldTimeout=10
SlurmdTimeout=10
BatchStartTimeout=10
MessageTimeout=10
TCPTimeout=2
KillWait=3
MinJobAge=300
InactiveLimit=0
OverTimeLimit=0
EnforcePartLimits=ANY
ReturnToService=2
PropagateResourceLimits=NONE
MailProg=/bin/true
RebootProgram=/bin/true
C
  if [ $DBD = 1 ]; then cat <<C
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$dbd
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment,job_script
C
  else echo "AccountingStorageType=accounting_storage/none"; fi
  port=$((PORT_BASE+11)); cn=(); gn=()
  for ((i=1; i<=CPU_NODES; i++)); do
    echo "NodeName=cpu$i NodeHostname=$H NodeAddr=127.0.0.1 Port=$((port++)) CPUs=$NODE_CPUS RealMemory=$NODE_MEM State=UNKNOWN"; cn+=("cpu$i"); done
  for ((i=1; i<=GPU_NODES; i++)); do
    echo "NodeName=gpu$i NodeHostname=$H NodeAddr=127.0.0.1 Port=$((port++)) CPUs=$NODE_CPUS RealMemory=$NODE_MEM Gres=gpu:$GPU_PER_NODE State=UNKNOWN"; gn+=("gpu$i"); done
  [ ${#cn[@]} -gt 0 ] && echo "PartitionName=cpu Nodes=$(IFS=,; echo "${cn[*]}") Default=YES DefaultTime=00:10:00 MaxTime=1-00:00:00 State=UP"
  if [ ${#gn[@]} -gt 0 ]; then
    g="Nodes=$(IFS=,; echo "${gn[*]}") DefaultTime=00:10:00 MaxTime=1-00:00:00 State=UP"
    echo "PartitionName=gpu $g PriorityTier=1 Default=$([ ${#cn[@]} -gt 0 ] && echo NO || echo YES)"
    echo "PartitionName=scrap $g PriorityTier=1 PreemptMode=CANCEL"
    echo "PartitionName=urgent $g PriorityTier=10 PreemptMode=OFF"
  fi
} | w /etc/slurm/slurm.conf root: 644
for ((i=1; i<=CPU_NODES; i++)); do nodes+=("cpu$i"); done
for ((i=1; i<=GPU_NODES; i++)); do nodes+=("gpu$i"); done
# a gpu count without File= is reported as 0 by slurmd (node goes INVAL), so give it stand-in device files
mkdir -p "$SLURMLAB/dev"
for ((i=0; i<GPU_PER_NODE; i++)); do [ -e "$SLURMLAB/dev/gpu$i" ] || mknod -m 666 "$SLURMLAB/dev/gpu$i" c 1 3 2>/dev/null || : >"$SLURMLAB/dev/gpu$i"; done
gf="$SLURMLAB/dev/gpu0"; [ "$GPU_PER_NODE" -gt 1 ] && gf="$SLURMLAB/dev/gpu[0-$((GPU_PER_NODE-1))]"
{ echo "$MARK"; echo "AutoDetect=off"
  for ((i=1; i<=GPU_NODES; i++)); do echo "NodeName=gpu$i Name=gpu File=$gf"; done
} | w /etc/slurm/gres.conf root: 644
{ echo "$MARK"; echo "CgroupPlugin=cgroup/v1"; echo "ConstrainCores=no"; echo "ConstrainRAMSpace=no"; echo "ConstrainDevices=no"; } | w /etc/slurm/cgroup.conf root: 644
if [ $DBD = 1 ]; then
  [ -s "$SLURMLAB/dbpass" ] || { head -c 18 /dev/urandom | base64 | tr -d '/+=' >"$SLURMLAB/dbpass"; }
  chown slurm: "$SLURMLAB/dbpass"; chmod 600 "$SLURMLAB/dbpass"
  w /etc/slurm/slurmdbd.conf slurm: 600 <<C
$MARK
AuthType=auth/munge
DbdHost=$H
DbdAddr=127.0.0.1
DbdPort=$dbd
SlurmUser=slurm
DebugLevel=info
LogFile=$SLURMLAB/log/slurmdbd.log
PidFile=$SLURMLAB/run/slurmdbd.pid
CommunicationParameters=NoInAddrAny
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$sql
StorageUser=slurm
StoragePass=$(cat "$SLURMLAB/dbpass")
StorageLoc=slurm_acct_db
C
fi

if [ -e "$SLURMLAB/run/.changed" ] && alive "$SLURMLAB/run/slurmctld.pid" slurmctld; then
  say "configuration changed: stopping the running daemons first"
  KEEP_CONF=1 SLURMLAB=$SLURMLAB "$(dirname "$(readlink -f "$0")")/down.sh" || die "could not stop the running daemons"
fi

# ---------------------------------------------------------------- munged (unix socket only)
if ! munge -n 2>/dev/null | unmunge >/dev/null 2>&1; then
  install -d -o munge -g munge -m 700 /etc/munge /var/lib/munge /var/log/munge
  install -d -o munge -g munge -m 755 /run/munge
  [ -s /etc/munge/munge.key ] || { head -c 1024 /dev/urandom >/etc/munge/munge.key; }
  chown munge: /etc/munge/munge.key; chmod 400 /etc/munge/munge.key
  rm -f /run/munge/munge.socket.2 /run/munge/munge.socket.2.lock /run/munge/munged.pid
  runuser -u munge -- /usr/sbin/munged </dev/null >>"$SLURMLAB/log/munged.out" 2>&1 || { tailf "$SLURMLAB/log/munged.out"; tailf /var/log/munge/munged.log; die "munged did not start"; }
  for ((i=0; i<25; i++)); do munge -n 2>/dev/null | unmunge >/dev/null 2>&1 && break; sleep .2; done
  munge -n 2>/dev/null | unmunge >/dev/null 2>&1 || { tailf /var/log/munge/munged.log; die "munged runs but gives no credential"; }
  cp /run/munge/munged.pid "$SLURMLAB/run/munged.pid" 2>/dev/null   # down.sh stops only a munged that we started
  say "munged up"
fi

# ---------------------------------------------------------------- mariadb + slurmdbd
if [ $DBD = 1 ]; then
  if ! alive "$SLURMLAB/run/mariadbd.pid" mariadbd; then
    port_free $sql || die "port $sql (mariadb) is taken by another process"
    if [ ! -d "$SLURMLAB/mysql/mysql" ]; then
      mariadb-install-db --no-defaults --user=slurm --datadir="$SLURMLAB/mysql" --auth-root-authentication-method=socket \
        --auth-root-socket-user=root --skip-test-db >"$SLURMLAB/log/mariadb-install.log" 2>&1 || { tailf "$SLURMLAB/log/mariadb-install.log"; die "mariadb-install-db failed"; }
    fi
    rm -f "$SLURMLAB/run/mariadbd.pid"
    # sql_mode is left to slurmdbd; a small pool and lock timeout 900 are what Slurm's docs ask for
    setsid mariadbd --no-defaults --user=slurm --datadir="$SLURMLAB/mysql" --socket="$SLURMLAB/run/mariadb.sock" \
      --pid-file="$SLURMLAB/run/mariadbd.pid" --bind-address=127.0.0.1 --port=$sql --skip-name-resolve \
      --innodb-buffer-pool-size=64M --innodb-log-file-size=32M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 \
      --performance-schema=OFF --log-error="$SLURMLAB/log/mariadbd.log" </dev/null >/dev/null 2>&1 &
    disown
    for ((i=0; i<150; i++)); do mariadb --no-defaults -uroot -S "$SLURMLAB/run/mariadb.sock" -e 'select 1' >/dev/null 2>&1 && break; sleep .2; done
    mariadb --no-defaults -uroot -S "$SLURMLAB/run/mariadb.sock" -e 'select 1' >/dev/null 2>&1 || { tailf "$SLURMLAB/log/mariadbd.log"; die "mariadbd did not come up"; }
    say "mariadbd up"
  fi
  mariadb --no-defaults -uroot -S "$SLURMLAB/run/mariadb.sock" <<SQL || die "could not create the accounting database"
create database if not exists slurm_acct_db;
create or replace user 'slurm'@'127.0.0.1' identified by '$(cat "$SLURMLAB/dbpass")';
grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1';
SQL
  if ! alive "$SLURMLAB/run/slurmdbd.pid" slurmdbd; then
    port_free $dbd || die "port $dbd (slurmdbd) is taken by another process"
    runuser -u slurm -- /usr/sbin/slurmdbd </dev/null >>"$SLURMLAB/log/slurmdbd.out" 2>&1 || { tailf "$SLURMLAB/log/slurmdbd.out"; tailf "$SLURMLAB/log/slurmdbd.log"; die "slurmdbd did not start"; }
    wait_port $dbd 40 || { tailf "$SLURMLAB/log/slurmdbd.log"; die "slurmdbd does not listen on $dbd"; }
    say "slurmdbd up"
  fi
  for ((i=0; i<25; i++)); do sacctmgr -n list cluster >/dev/null 2>&1 && break; sleep .2; done
  if ! sacctmgr -n -P list cluster format=cluster 2>/dev/null | grep -qx testcluster; then
    sacctmgr -i add cluster testcluster >>"$SLURMLAB/log/sacctmgr.log" 2>&1 || { tailf "$SLURMLAB/log/sacctmgr.log"; die "sacctmgr could not register the cluster"; }
  fi
fi

# ---------------------------------------------------------------- slurmctld
if ! alive "$SLURMLAB/run/slurmctld.pid" slurmctld; then
  port_free $ctld || die "port $ctld (slurmctld) is taken by another process"
  runuser -u slurm -- /usr/sbin/slurmctld </dev/null >>"$SLURMLAB/log/slurmctld.out" 2>&1 || { tailf "$SLURMLAB/log/slurmctld.out"; tailf "$SLURMLAB/log/slurmctld.log"; die "slurmctld did not start"; }
  for ((i=0; i<100; i++)); do scontrol ping 2>/dev/null | grep -q 'is UP' && break; sleep .2; done
  scontrol ping 2>/dev/null | grep -q 'is UP' || { tailf "$SLURMLAB/log/slurmctld.log"; die "slurmctld does not answer"; }
  say "slurmctld up"
fi

# ---------------------------------------------------------------- slurmd, one for each virtual node
for n in "${nodes[@]}"; do
  alive "$SLURMLAB/run/slurmd-$n.pid" slurmd && continue
  mkdir -p "$SLURMLAB/spool/$n"
  /usr/sbin/slurmd -N "$n" </dev/null >>"$SLURMLAB/log/slurmd-$n.out" 2>&1 || { tailf "$SLURMLAB/log/slurmd-$n.out"; tailf "$SLURMLAB/log/slurmd-$n.log"; die "slurmd -N $n did not start (a build without --enable-multiple-slurmd?)"; }
done
say "slurmd started: ${nodes[*]}"

# ---------------------------------------------------------------- ready?
bad=
for ((i=0; i<READY_S*5; i++)); do
  bad=$(sinfo -h -N -o '%N %T' 2>/dev/null | awk '$2!="idle" && $2!="mixed" && $2!="allocated"' | sort -u)
  [ -z "$bad" ] && [ "$(sinfo -h -N -o %N 2>/dev/null | sort -u | wc -l)" = ${#nodes[@]} ] && break
  [ $((i % 25)) = 24 ] && for n in "${nodes[@]}"; do   # nodes left down by an earlier crash or test
    scontrol show node "$n" 2>/dev/null | grep -qE 'State=(DOWN|[A-Z+*]*DRAIN)' && scontrol update nodename="$n" state=resume 2>/dev/null; done
  sleep .2
done
[ -z "$bad" ] && [ "$(sinfo -h -N -o %N 2>/dev/null | sort -u | wc -l)" = ${#nodes[@]} ] || {
  sinfo -R >&2; tailf "$SLURMLAB/log/slurmctld.log"; tailf "$SLURMLAB/log/slurmd-${nodes[0]}.log"; die "nodes are not idle after ${READY_S}s: $(echo $bad)"; }
out=$(srun -n1 -t1 --mem=50 -Q -J testcluster-up bash -c 'echo $SLURM_JOB_ID' 2>&1) || die "nodes are idle but a test job failed: $out"
if [ $DBD = 1 ]; then   # accounting from end to end (the first records of a new database take some seconds)
  for ((i=0; i<150; i++)); do sacct -n -X -j "$out" -o state 2>/dev/null | grep -q COMPLETED && break; sleep .2; done
  sacct -n -X -j "$out" -o state 2>&1 | grep -q COMPLETED || { tailf "$SLURMLAB/log/slurmdbd.log"; die "the test job $out ran but sacct does not know it: $(sacct -n -X -j "$out" 2>&1)"; }
fi
for ((i=0; i<25; i++)); do [ -z "$(sinfo -h -t completing -o %N 2>/dev/null)" ] && break; sleep .2; done   # that job's clean-up
say "READY"
sinfo -o '%P %a %D %t %c %m %G %N'
sinfo -V; munged --version | head -1; mariadbd --version | awk '{print $1,$3}'
