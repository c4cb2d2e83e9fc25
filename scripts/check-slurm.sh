#!/usr/bin/env bash
# Runs a program's tables as jobs of a real Slurm, stops a task by signal and kills another mid-way, queues it again, and compares the tables
# with those of one process, byte for byte but for the seconds that a cell took.
#
#   scripts/check-slurm.sh [FOLDER]       # Slurm's state, the runs and the logs stay in FOLDER, a new one in /tmp otherwise
#
# Starts a Slurm of one node for this user alone, with its own files and ports, and ends it: no other Slurm on the machine is touched. Needs
# Slurm and MUNGE (Debian: `apt install slurm-wlm munge`); what is missing is named, and the code is 3. `PROGRAM` and `TABLES` name another
# program than hinton-mnist, which is built otherwise, and its tables. `ARGUMENTS` are the program's options, one word each.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for command in munged slurmctld slurmd sbatch squeue scontrol scancel; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || missing+=("$command")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "skipped: needs Slurm and MUNGE, found no ${missing[*]}" >&2
    exit 3
fi
PATH=$PATH:/usr/sbin:/sbin
folder=$(realpath -m "${1:-$(mktemp -d)}")
mkdir -p "$folder"/{munge,state,spool,work}
chmod 700 "$folder/munge"
tables=(${TABLES:-distillation})
arguments=(${ARGUMENTS:---data embedded})

if [ -z "${PROGRAM:-}" ]; then
    cargo build -q -p hinton-mnist
    PROGRAM=${CARGO_TARGET_DIR:-target}/debug/hinton-mnist
fi
program=$(realpath "$PROGRAM")

# A daemon each of MUNGE and Slurm, ended by their ids.
port=${PORT:-$((20000 + $$ % 20000))}
host=$(hostname -s)
cat > "$folder/slurm.conf" <<CONF
ClusterName=check
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
MpiDefault=none
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=batch_sched_delay=1,sched_interval=2
KillWait=30
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=check Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$folder/slurm.conf
daemons=()
end() {
    code=$?
    scancel --me 2>/dev/null || true
    for daemon in "${daemons[@]}"; do
        kill "$daemon" 2>/dev/null || true
    done
    exit "$code"
}
trap end EXIT
(umask 077; head -c 128 /dev/urandom > "$folder/munge/key")
munged --foreground --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munge/pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" 2>"$folder/munge/errors" &
daemons+=($!)
within() { # SECONDS WHAT COMMAND...
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if [ "$SECONDS" -ge "$until" ]; then
            echo "no $what; see $folder" >&2
            exit 1
        fi
        sleep 0.2
    done
}
within 30 "answer of munged" test -S "$folder/munge/socket"
slurmctld -D 2>"$folder/slurmctld.errors" &
daemons+=($!)
slurmd -D 2>"$folder/slurmd.errors" &
daemons+=($!)
idle() { sinfo --noheader --format=%T 2>/dev/null | grep -q '^idle$'; }
within 120 "idle node" idle

places() { echo --runs-dir "$folder/$1/runs" --out "$folder/$1/results"; }
echo "== one process"
"$program" run "${tables[@]}" "${arguments[@]}" $(places alone) >"$folder/alone.log" 2>&1

echo "== jobs"
"$program" submit "${tables[@]}" "${arguments[@]}" $(places jobs) --slurm --shards 2 | tee "$folder/submitted"
job() { sed -n "s/^job \([0-9]*\): $1: .*/\1/p" "$folder/submitted"; }
teachers=$(job 'needed-[0-9]*' | head -n 1)
students=$(job '[a-z]*-1' | head -n 1)
status() { "$program" status "${tables[@]}" "${arguments[@]}" $(places jobs); }
# The task of a job that runs a cell, and its process: the log's name has the task's number.
at_work() { status | sed -n "s/.*running  process \([0-9]*\) on .*-${1}_\([0-9]*\)\.log\$/\1 \2/p" | head -n 1 | grep .; }
within 600 "teacher at work" at_work "$teachers" >"$folder/at-work"
read -r _ task <"$folder/at-work"
echo "== SIGTERM to the teachers' task ${teachers}_$task"
scancel --signal=TERM --batch "${teachers}_$task"
again() { grep -q "queued again, to go on from its state" "$folder"/jobs/runs/slurm/*/1/*-"${1}_$2.log"; }
within 300 "teacher that was queued again" again "$teachers" "$task"

within 1800 "student at work" at_work "$students" >"$folder/at-work"
read -r process task <"$folder/at-work"
echo "== SIGKILL to process $process of the students' task ${students}_$task"
kill -9 "$process"
ended() { ! squeue --noheader --array --jobs="${students}_$task" --format=%T 2>/dev/null | grep -q RUNNING; }
within 120 "end of the killed task" ended
scontrol requeue "${students}_$task"

empty() { [ -z "$(squeue --noheader)" ]; }
within 3600 "empty queue" empty
grep -q "taken over from process $process on $host, which has ended" "$folder"/jobs/runs/slurm/*/1/*-"${students}_$task.log" ||
    { echo "the lock of the killed process was not taken over by name" >&2; exit 1; }
# What found the killed task's cells unfinished was not run: the same command does what is left.
"$program" submit "${tables[@]}" "${arguments[@]}" $(places jobs) --slurm --shards 2
within 3600 "empty queue" empty
"$program" table "${tables[@]}" "${arguments[@]}" $(places jobs) >/dev/null
status | tail -n 1 | tee "$folder/status"
grep -q '^\([0-9]*\) cells: \1 done;' "$folder/status"

python3 - "$folder/alone/results" "$folder/jobs/results" <<'PY'
import csv, pathlib, sys
alone, jobs = map(pathlib.Path, sys.argv[1:])
names = lambda root: sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
assert names(alone) == names(jobs) != [], (names(alone), names(jobs))
def content(path):
    text = path.read_bytes()
    if path.suffix != ".csv":
        return text
    rows = list(csv.reader(text.decode().splitlines()))
    if "seconds" not in rows[0]:
        return text
    column = rows[0].index("seconds")
    return [row[:column] + row[column + 1 :] for row in rows]
for name in names(alone):
    assert content(alone / name) == content(jobs / name), f"{name} differs"
print(f"{len(names(alone))} files are the same")
PY
