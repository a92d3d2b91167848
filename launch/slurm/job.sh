# What the batch scripts of this folder share: environment, signals, the return of a preempted job, dry runs.
# Sourced by them and by the jobs of launch/compare.py, which know the checkout as EARSHOT.
# shellcheck shell=bash

fail() {
  echo "$*" >&2
  exit 2
}

# Sources ACTIVATE (/dev/null for none), else the checkout's own .venv unless another environment is active already.
# Called without words, so that the file does not see those of the script.
activate() {
  local file=${ACTIVATE:-}
  if [ -n "$file" ]; then
    { [ -e "$file" ] && [ ! -d "$file" ]; } || fail "ACTIVATE must be a file to source, such as .venv/bin/activate, got $file"
  elif [ -z "${VIRTUAL_ENV:-}" ] && [ "${CONDA_DEFAULT_ENV:-base}" = base ]; then
    file=$EARSHOT/.venv/bin/activate
    [ -f "$file" ] || return 0
  else
    return 0
  fi
  case $file in /*) ;; *) file=$PWD/$file ;; esac
  set +u  # conda's and many modules' files use unset variables
  # shellcheck disable=SC1090
  . "$file" || fail "ACTIVATE: sourcing $file failed"
  set -u
}

# Prints the options of `accelerate launch` for the launch file $1, one a line; `one` as $2 refuses files for several
# machines. Paths of launch files are relative to the current folder or to the checkout, and so is the DeepSpeed
# configuration that they name.
launch_file() {
  local file=$1 configuration machines
  [ -f "$file" ] || file=$EARSHOT/$1
  [ -f "$file" ] || fail "CONFIG must be a launch file of accelerate, got $1; see $EARSHOT/launch/accelerate"
  grep -Eq '^[ {]*"?(compute_environment|distributed_type)"? *:' "$file" ||
    fail "CONFIG must be a launch file of accelerate, $1 has neither compute_environment nor distributed_type; see $EARSHOT/launch/accelerate"
  machines=$(sed -nE 's/^[ {]*"?num_machines"? *: *"?([0-9]+).*/\1/p' "$file" | head -n 1)
  if [ "${2:-}" = one ] && [ "${machines:-1}" -gt 1 ]; then
    fail "CONFIG must be a launch file for one machine, $1 has num_machines: $machines; submit several_nodes.sbatch for it"
  fi
  printf '%s\n' --config_file "$file"
  configuration=$(sed -n 's/^ *deepspeed_config_file: *//p' "$file")
  if [ -n "$configuration" ] && [ ! -f "$configuration" ] && [ -f "$EARSHOT/$configuration" ]; then
    printf '%s\n' --deepspeed_config_file "$EARSHOT/$configuration"
  fi
}

# The words of pretrain/run.py, into `train`: the first start takes its settings from the given words, later ones from
# the run folder.
# shellcheck disable=SC2034
training_words() {
  if [ ! -f "$RUN/config.yaml" ]; then
    train=("$@" --shards "$SHARDS" --out "$RUN")
    return
  fi
  train=(--resume "$RUN")
  # A job that comes back has its first start's words.
  if [ "$#" != 0 ] && [ "${SLURM_RESTART_COUNT:-0}" = 0 ] && [ -z "${RESUBMISSIONS:-}" ]; then
    echo "note: $RUN exists and is resumed; the words $* are ignored"
  fi
}

# Notes signals: `asked` for any, `announced` for SIGUSR1, which Slurm sends ahead of a time limit or a preemption.
# SIGTERM may also come from the user's scancel.
asked=0 announced=0
watch_signals() {
  trap 'asked=1 announced=1' USR1
  trap 'asked=1' TERM
}

# Waits for process $1 and returns its status. Once `asked` is set, calls `$2 $1` every two seconds, because trainers
# that are still starting don't handle the signal yet, and a process that is just being forked loses it.
wait_for() {
  while kill -0 "$1" 2>/dev/null; do
    if [ "$asked" = 1 ]; then
      "$2" "$1"
      sleep 2
    else
      wait "$1"  # ends early when a signal arrives
    fi
  done
  wait "$1"
}

signal_all_below() {
  local child
  for child in $(pgrep -P "$1"); do
    kill -USR1 "$child" 2>/dev/null
    signal_all_below "$child"
  done
}

# Runs a launcher of trainers and passes signals to the trainers, which save at their next step and exit. The launcher
# ignores the signals: they would end it, or make it kill its trainers after half a minute.
run_trainers() {
  watch_signals
  (
    trap '' USR1 TERM
    export PET_SIGNALS_TO_HANDLE=SIGINT
    exec "$@"
  ) &
  wait_for $! signal_all_below
}

# Runs a command that stops on SIGTERM and keeps what it has done, and passes signals to it as SIGTERM.
run_stoppable() {
  # The traps first: without them a signal ends this script. One that comes before the number of the process is known is
  # passed on by `wait_for`.
  stoppable=""
  trap 'asked=1 announced=1; ask_to_stop "$stoppable"' USR1
  trap 'asked=1; ask_to_stop "$stoppable"' TERM
  "$@" &
  stoppable=$!
  wait_for "$stoppable" ask_to_stop
}

ask_to_stop() { [ -z "$1" ] || kill -TERM "$1" 2>/dev/null; }

# come_back JOB SCRIPT [WORDS]: requeues the interrupted job. Where the cluster refuses, as it does for a job that is
# being cancelled by a preemption, submits the script again, with the options of this job, to start when this one ends.
come_back() {
  local job=$1 record
  shift
  record=$(scontrol show job "$job")
  case $record in
    *JobState=CANCELLED*) return ;;  # by its user, with scancel: saved, but not requeued
  esac
  if scontrol requeue "$job"; then exit 0; fi
  # While a job ends, its state does not tell scancel from preemption.
  case $record in
    *JobState=PREEMPTED* | *PreemptTime=[0-9]*) ;;
    *) [ "$announced" = 1 ] || return ;;
  esac
  if slurm_requeues "$job"; then
    echo "not resubmitted: Slurm requeues this job by itself; if it does not come back, submit the same command"
    return
  fi
  resubmit "$job" "$record" "$@"
}

# Whether Slurm requeues job $1 by itself, as after a preemption with PreemptMode=REQUEUE, of which the job learns in its
# last seconds. `scontrol requeue` is then refused although nothing is lost, and a second job would train in the same
# folder. The state is read again, because it may have changed since; while the job ends, it is COMPLETING.
slurm_requeues() {
  local record config mode
  record=$(scontrol show job "$1")
  case "$(field_of "$record" JobState)" in
    *PENDING* | *REQUEUE*) return 0 ;;
  esac
  [ "$(field_of "$record" Requeue)" = 1 ] || return
  config=$(scontrol show config)
  mode=$(sed -nE 's/^PreemptMode *= *//p' <<<"$config")
  if grep -q '^PreemptType .*partition_prio' <<<"$config"; then
    mode=$(field_of "$(scontrol show partition "$(field_of "$record" Partition)")" PreemptMode)
  fi
  [[ $mode == *REQUEUE* ]]
}

# The value of field $2 in the record $1 of scontrol.
field_of() {
  sed -nE "s/(^|.* )$2=([^ ]*).*/\2/p" <<<"$1" | head -n 1
}

# Submits a new job from within a job and prints its number. Its SLURM_ variables are set by Slurm, and this job's would
# contradict them; SLURM_CONF alone is for sbatch itself.
submit() (
  for name in $(compgen -e SLURM_); do
    [ "$name" = SLURM_CONF ] || unset "$name"
  done
  number=$(sbatch --parsable "$@") && echo "${number%%;*}"
)

# resubmit JOB RECORD SCRIPT [WORDS]: the number of the new job is then in `resubmitted`. `more_options` are the caller's.
resubmit() {
  local job=$1 record=$2 count=$((${RESUBMISSIONS:-0} + 1)) most=${MAX_RESUBMISSIONS:-20} options
  shift 2
  if [ "$count" -gt "$most" ]; then
    echo "not resubmitted: this was resubmission $most of MAX_RESUBMISSIONS=$most; submit the same command to resume" >&2
    return
  fi
  same_options "$record"
  resubmitted=$(
    export RESUBMISSIONS=$count EARSHOT
    submit --dependency="afterany:$job" "${options[@]}" ${more_options+"${more_options[@]}"} "$@"
  ) || fail "not resubmitted: sbatch failed; submit the same command to resume"
  echo "requeueing was refused: resubmitted as job $resubmitted (resubmission $count of at most $most)"
}

# The options of sbatch by which this job was submitted, on the command line or in the script, into `options`.
same_options() {
  local record=$1 field option value
  options=(--export=ALL)
  while read -r field option; do
    value=$(field_of "$record" "$field")
    case $value in '' | '(null)' | N/A | None) continue ;; esac
    # Errors go to the output file unless another was named.
    if [ "$field" = StdErr ] && [ "$value" = "$(field_of "$record" StdOut)" ]; then continue; fi
    options+=("--$option=$value")
  done <<'FIELDS'
JobName job-name
Partition partition
Account account
QOS qos
Reservation reservation
TimeLimit time
NumNodes nodes
Features constraint
ExcNodeList exclude
StdOut output
StdErr error
FIELDS
  while read -r field option; do
    value=${!field:-}
    [ -z "$value" ] || options+=("--$option=$value")
  done <<'VARIABLES'
SLURM_GPUS gpus
SLURM_GPUS_PER_NODE gpus-per-node
SLURM_CPUS_PER_TASK cpus-per-task
SLURM_MEM_PER_NODE mem
SLURM_MEM_PER_CPU mem-per-cpu
SLURM_MEM_PER_GPU mem-per-gpu
VARIABLES
}

# Dry runs: each check is a line; `dry_run_ends` gives the status.
failed_checks=0
check() {
  local sentence=$1
  shift
  if "$@"; then echo "ok      $sentence"; else failed_checks=1; echo "failed  $sentence"; fi
}

is_command() { command -v "$1" >/dev/null; }

# An address may be out of the reach of a login node, so only folders are looked at.
is_shard_set() { [[ $1 == *://* ]] || [ -f "$1/manifest.json" ]; }

can_be_written() {
  local folder=$1
  while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
  [ -d "$folder" ] && [ -w "$folder" ]
}

# check_training PROCESSES WORDS: what can be known before a job starts, with pretrain's own checks of its words.
check_training() {
  local processes=$1 python=${PYTHON:-python} sentence
  shift
  sentence="the environment has accelerate: $(command -v accelerate)" || sentence="accelerate is not on the PATH; set ACTIVATE"
  check "$sentence" is_command accelerate
  check "the shard set $SHARDS has a manifest.json" is_shard_set "$SHARDS"
  if [ -f "$RUN/config.yaml" ]; then
    check "the run folder $RUN can be written: it is resumed" can_be_written "$RUN"
  else
    check "the run folder $RUN can be written: it is new" can_be_written "$RUN"
  fi
  if is_command "$python"; then
    check "the words are valid for $processes processes: $*" words_are_valid "$processes" "$@"
    [ -z "$pretrain_says" ] || printf '        %s\n' "${pretrain_says//$'\n'/$'\n'        }"
  else
    check "$python is not on the PATH, so the words can't be checked; set ACTIVATE" false
  fi
}

# Runs the training's own dry run, which opens the shards. Where they are missing or at an address, the settings alone
# are checked.
words_are_valid() {
  local processes=$1 mode=--dry-run status
  shift
  [ -f "$SHARDS/manifest.json" ] || mode=--print-config
  pretrain_says=$(PLANNED_PROCESSES=$processes "${PYTHON:-python}" "$EARSHOT/pretrain/run.py" "$@" "$mode" 2>&1)
  status=$?
  if [ "$status" = 0 ] && [ "$mode" = --print-config ]; then pretrain_says=""; fi
  return "$status"
}

dry_run_ends() {
  echo "folder  $PWD"
  printf 'command'
  printf ' %q' "$@"
  printf '\n'
  [ "$failed_checks" = 0 ] || fail "the dry run failed: see the lines that begin with failed"
  exit 0
}
