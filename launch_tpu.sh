#!/usr/bin/env bash
# Trains posjax on Cloud TPU: creates the machines, runs one command on every host, resumes after a
# preemption, deletes the machines. It needs bash 3.2 (that of macOS), git and gcloud. docs/launch.md
# tells the rest. What Google offers and what is checked: experiments/launch/tpu_checks.sh; what runs on
# a host: experiments/launch/tpu_worker.sh.
#
# No `set -e`: it is off inside conditions, where most calls are. Each call says what its failure means.
set -uo pipefail
cd "$(dirname "$0")" || exit 1
# shellcheck source=experiments/launch/tpu_checks.sh
. experiments/launch/tpu_checks.sh

usage() {
  cat <<'END'
./launch_tpu.sh COMMAND --tpu=TYPE-SIZE --zone=Z --project=P --bucket=B --config=FILE [flags] \
  [-- flags of posjax.main]

  up       request the machines and wait for them; Ctrl-C deletes the request
  run      send the code, start posjax.main on every host, follow it to its end
  resume   follow a run that is still running; otherwise create what is missing and run again
  all      up, run, resume after each preemption, down
  logs     follow the log of the hosts
  status   the state of the machines and of the run
  down     delete the machines; --all-mine: everything of yours in the project

  --tpu=v5litepod-16     v5litepod (v5e), v6e, v5p or v4
  --zone= --project=     where
  --bucket=gs://B        checkpoints and logs go to gs://B/posjax/NAME
  --name=NAME            by default posjax-CONFIG-USER
  --spot --reserved --flex-start   how the machines are paid for; on demand otherwise
  --max-run=24h          with --flex-start: Google deletes the machines after this time, at most 7d
  --wait=24h             how long a request may wait in the queue
  --direct               create the machines immediately or fail; no queue
  --slices=1             several slices, one training run over all
  --image=               the runtime version, by default that of the type
  --attempts=5           how often `all` starts before it gives up
  --allow-dirty          send changes that are not committed, too
  --dry-run              print every command and touch nothing

POSJAX_TPU, POSJAX_ZONE, POSJAX_PROJECT and POSJAX_BUCKET stand for the flags.
Exit codes: 0 done; 2 something must be changed, nothing was created; 3 the run diverged; 42 the attempts
are used up, start again; 130 Ctrl-C; 1 gcloud failed. Others are those of posjax.main.
END
}

# ---- words -------------------------------------------------------------------------------------------

say() { # a comment is one line
  local text="$*"
  printf '# %s\n' "${text//$'\n'/ }" >&3
}
usage_error() { printf '%s\n' "launch_tpu.sh: $*" >&2; exit 2; }
fail() { printf '%s\n' "launch_tpu.sh: $*" >&2; exit 1; }

plain() { case $1 in '' | *[!A-Za-z0-9_./:=,@%+-]*) return 1 ;; esac; }

quote() { # sets `quoted` to a word as a shell reads it back; printf %q differs between versions of bash
  local rest=$1
  quoted=
  if plain "$rest"; then quoted=$rest && return 0; fi
  case $rest in
    --*=*) if plain "${rest%%=*}"; then quoted=${rest%%=*}= rest=${rest#*=}; fi ;;
  esac
  quoted="$quoted'"
  while [ "$rest" != "${rest#*\'}" ]; do
    quoted="$quoted${rest%%\'*}'\\''"
    rest=${rest#*\'}
  done
  quoted="$quoted$rest'"
}

quote_all() {
  local line='' word quoted
  for word in "$@"; do quote "$word" && line="$line $quoted"; done
  printf '%s\n' "${line# }"
}

# ---- commands: every call of gcloud goes through one of these --------------------------------------------

call() { # runs a command that changes something; a dry run prints it
  if [ -n "$dry_run" ]; then quote_all "$@" >&3 && return 0; fi
  say "$(quote_all "$@")"
  "$@"
}

ask() { # ANSWER COMMAND...: the output of a command that reads; in a dry run the ANSWER
  local answer=$1
  shift
  if [ -n "$dry_run" ]; then quote_all "$@" >&3 && printf '%s\n' "$answer" && return 0; fi
  "$@" 2>"$errors"
}

said() { grep -m 1 ERROR "$errors" || tail -n 1 "$errors"; } # why the last `ask` failed

patiently() { # a new machine refuses ssh for a while, and any ssh may fail once
  local tries=1
  until "$@"; do
    [ $tries -lt 5 ] || return 1
    tries=$((tries + 1))
    say "again, $tries of 5"
    pause
  done
}

pause() { [ -n "$dry_run" ] || sleep "${POSJAX_POLL:-30}"; }

note() { # what happened, on the screen and in the log of attempts; nothing happens in a dry run
  [ -z "$dry_run" ] || return 0
  say "$*"
  printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$records/attempts.log"
}

# ---- machines --------------------------------------------------------------------------------------------

vm=(gcloud compute tpus tpu-vm) queue=(gcloud compute tpus queued-resources)

nodes() { # the names of the slices, as Google makes them
  local i
  if [ "$slices" = 1 ]; then printf '%s\n' "$name" && return 0; fi
  for ((i = 0; i < slices; i++)); do printf '%s\n' "$name-$i"; done
}

machine_state() { # ANSWER: Google's word for the state, or `gone`, or `unknown` if gcloud cannot say
  local state
  if [ -n "$direct" ]; then
    state=$(ask "$1" "${vm[@]}" describe "$name" "${at[@]}" --format='value(state)')
  else
    state=$(ask "$1" "${queue[@]}" describe "$name" "${at[@]}" --format='value(state.state)')
  fi && printf '%s\n' "${state:-unknown}" && return 0
  if grep -q NOT_FOUND "$errors"; then echo gone; else echo unknown; fi
}

create() {
  local tier=() shape=(--node-id="$name") create=("${queue[@]}" create)
  local labels="posjax=$name,posjax_user=$user,posjax_commit=$commit"
  [ "$slices" = 1 ] || shape=(--node-count="$slices" --node-prefix="$name")
  [ -z "$spot" ] || tier=(--spot)
  [ -z "$reserved" ] || tier=(--reserved)
  if [ -n "$flex" ]; then # a preview: only gcloud's alpha track has its flags
    tier=(--provisioning-model=flex-start --max-run-duration="$max_run")
    create=(gcloud alpha compute tpus queued-resources create)
  fi
  state_cost
  owned=yes creating=yes
  # ${tier[@]+"${tier[@]}"}: before version 4.4, bash takes an empty array for an unset variable.
  if [ -n "$direct" ]; then
    call "${vm[@]}" create "$name" "${at[@]}" --accelerator-type="$tpu" --version="$image" \
      ${tier[@]+"${tier[@]}"} --labels="$labels"
  else
    call "${create[@]}" "$name" "${at[@]}" --accelerator-type="$tpu" --runtime-version="$image" \
      "${shape[@]}" ${tier[@]+"${tier[@]}"} --valid-until-duration="$wait" --labels="$labels"
  fi
  local result=$?
  creating=
  [ $result = 0 ] || fail "Google refused to create $name, see above; your quota: $QUOTA"
}

up() { # returns 42 if the machines were taken away before they were ready
  local state last=
  say "create $name and wait for it"
  state=$(machine_state gone)
  case $state in
    gone) create ;;
    unknown) fail "gcloud cannot describe $name: $(said)" ;;
    # A request that is over keeps its name and its quota.
    SUSPENDING | SUSPENDED | FAILED | PREEMPTED | TERMINATED | STOPPED) remove && create ;;
    *) say "$name exists: $state" ;;
  esac || return
  while :; do
    state=$(machine_state ACTIVE)
    [ "$state" = "$last" ] || note "$name: $state"
    case $state in
      ACTIVE | READY) return 0 ;;
      SUSPENDING | SUSPENDED | PREEMPTED | TERMINATED) return 42 ;;
      FAILED | gone) owned=yes && fail "$name: $state. $(why_failed)" ;;
    esac
    last=$state
    owned=yes # Ctrl-C deletes a waiting request, also one of an earlier call
    pause
  done
}

why_failed() {
  [ -n "$direct" ] ||
    ask '' "${queue[@]}" describe "$name" "${at[@]}" --format='value(state.failedData.error.message)'
}

delete() { # NAME queued-resources|tpu-vm: and the nodes of a request
  if [ "$2" = tpu-vm ]; then
    call "${vm[@]}" delete "$1" "${at[@]}" --quiet
  else
    call "${queue[@]}" delete "$1" "${at[@]}" --force --quiet
  fi
}

remove() { # until Google says that it is gone: what is left behind is billed
  local tries=0 kind=queued-resources
  [ -z "$direct" ] || kind='tpu-vm'
  [ -z "$creating" ] || pause # a request whose call was interrupted may still arrive
  say "delete $name"
  until [ "$(machine_state ACTIVE)" = gone ]; do
    if delete "$name" "$kind"; then break; fi
    tries=$((tries + 1))
    [ $tries -lt 10 ] || { say "NOT DELETED, AND BILLED: $name. Run: $(down_line)" && return 1; }
    pause
  done
  owned='' creating=
  note "$name is deleted"
}

down_line() { quote_all ./launch_tpu.sh down --name="$name" "${at[@]}" ${direct:+--direct}; }

# ---- the run ---------------------------------------------------------------------------------------------

on_all() { # NODE COMMAND: on every worker; the default of --worker is the first alone
  call "${vm[@]}" ssh "$1" "${at[@]}" --worker=all --quiet --command="$2"
}

WORKER=posjax/experiments/launch/tpu_worker.sh
worker() { quote_all bash $WORKER "$@"; }

count_hosts() { # asked, since the type does not tell how many chips a host has
  local node count total=0
  for node in $(nodes); do
    count=$(ask 1 "${vm[@]}" describe "$node" "${at[@]}" --format='value(networkEndpoints.len())') &&
      [ "${count:-0}" -ge 1 ] || return
    total=$((total + count))
  done
  hosts=$total
}

ask_hosts() { # ANSWER: sets `codes` to the state of every host; fails if one is missing
  local node part answer='' command
  command="if [ -e $WORKER ]; then $(worker state); else echo posjax-state: absent; fi"
  for node in $(nodes); do
    part=$(ask "posjax-state: $1" "${vm[@]}" ssh "$node" "${at[@]}" \
      --worker=all --quiet --command="$command") || return
    answer="$answer$part
"
  done
  codes=$(printf %s "$answer" | sed -n 's/.*posjax-state: \([a-z0-9]*\).*/\1/p')
  progress=$(printf %s "$answer" | sed -n 's/.*posjax-state: \(.* on .*\)/\1/p' | sort | head -n 1)
  [ "$(printf '%s\n' "$codes" | grep -c .)" -ge "$hosts" ]
}

send_code() {
  local tarball=$records/code.tar.gz node pack unpack
  # shellcheck disable=SC2016 # a shell of its own reads it
  pack='git read-tree HEAD && git add --all && git archive --format=tar.gz --output="$1" "$(git write-tree)"'
  unpack='rm -rf posjax && mkdir posjax && tar -xzf posjax.tar.gz -C posjax'
  say "send the code and install the packages"
  call mkdir -p "$records"
  if [ "$commit" = "${commit%-dirty}" ]; then
    call git archive --format=tar.gz --output="$tarball" HEAD
  else # what is committed and what is not, through an index of its own
    call env GIT_INDEX_FILE="$records/index" sh -c "$pack" sh "$tarball"
  fi || fail "git cannot pack the code"
  for node in $(nodes); do
    patiently call "${vm[@]}" scp "$tarball" "$node:posjax.tar.gz" "${at[@]}" --worker=all --quiet &&
      patiently on_all "$node" "$unpack && $(worker setup "$bucket")" || return
  done
}

run() { # returns the exit code of posjax.main; 42: the machines are gone, or it asks to be started again
  local node result all
  { patiently count_hosts && patiently ask_hosts absent; } || { lost; return; }
  case $codes in
    *running*) say "$name is running already; this follows it" ;;
    *)
      send_code || { lost; return; }
      say "start posjax.main on every host${dry_run:+; HOSTS is the number that describe prints}"
      if [ -n "$dry_run" ]; then all=HOSTS; else all=$hosts; fi
      note "$hosts hosts: commit $commit, $workdir, $(quote_all "${main_flags[@]}")"
      for node in $(nodes); do
        patiently on_all "$node" \
          "$(worker start "$commit" "$workdir" "--hosts=$all" "${main_flags[@]}")" || { lost; return; }
      done
      ;;
  esac
  say "TensorBoard: tensorboard --logdir=$workdir; compiled programs stay in ~/.cache/posjax of each host"
  watch
  result=$?
  note "$name ended with exit code $result"
  return $result
}

lost() { # returns 42 if the machines were taken away; otherwise nobody can say what is wrong
  case $(machine_state ACTIVE) in
    SUSPENDING | SUSPENDED | PREEMPTED | TERMINATED) return 42 ;;
  esac
  fail "$name does not answer: $(said)"
}

watch() { # asks again and again, so that a laptop may sleep meanwhile
  local silent=0 late=0 state last='' code running again
  say "follow it, every half minute"
  while :; do
    pause
    state=$(machine_state ACTIVE)
    case $state in
      SUSPENDING | SUSPENDED | FAILED | PREEMPTED | TERMINATED | STOPPED) note "$name: $state" && return 42 ;;
      gone) owned='' && fail "another user deleted $name" ;;
      unknown) say "gcloud does not answer: $(said)" && continue ;; # this machine is offline, say
    esac
    if ! ask_hosts 0; then
      silent=$((silent + 1))
      say "hosts do not answer, $silent of 10: $(said)"
      [ $silent -lt 10 ] || { note "$name is $state, but its hosts do not answer" && return 42; }
      continue
    fi
    silent=0
    [ "$progress" = "$last" ] || say "$progress"
    last=$progress running='' again=
    for code in $codes; do
      case $code in
        0) ;;
        running) running=yes ;;
        # 134: the program was aborted, as JAX does to hosts whose coordinator went away first.
        42 | 134 | lost | absent) again=yes ;;
        *) return "$code" ;;
      esac
    done
    # The other hosts get one more round to save what they have.
    if [ -n "$again" ]; then
      [ -n "$running" ] && [ $late = 0 ] || return 42
      late=1
    elif [ -z "$running" ]; then
      return 0
    fi
  done
}

# ---- commands ----------------------------------------------------------------------------------------------

command_all() {
  local attempt=1 result
  while :; do
    note "attempt $attempt of $attempts"
    result=0
    up && owned=yes && run || result=$?
    remove || exit 1
    [ $result = 42 ] || exit $result
    [ $attempt -lt "$attempts" ] || { note "the attempts are used up; ./launch_tpu.sh all goes on" && exit 42; }
    attempt=$((attempt + 1))
  done
}

command_up() {
  up || exit
  owned=
  say "up, and billed; delete it with: $(down_line)"
}

command_run() {
  case $(machine_state ACTIVE) in
    ACTIVE | READY) ;;
    *) usage_error "$name is not up; ./launch_tpu.sh up, or resume" ;;
  esac
  run
  local result=$?
  say "still up, and billed; delete it with: $(down_line)"
  exit $result
}

command_resume() {
  up || exit
  owned=
  command_run
}

command_logs() { # the first slice last: its first host writes the progress
  local node
  for node in $(nodes | tail -n +2); do on_all "$node" "$(worker log 20)"; done
  on_all "$(nodes | head -n 1)" "$(worker follow)"
}

command_status() {
  say "$name: $(machine_state ACTIVE)"
  if count_hosts && ask_hosts running; then
    say "hosts: $hosts; states: $(printf %s "$codes" | tr '\n' ' ')"
    [ -z "$progress" ] || say "$progress"
  fi
  [ ! -f "$records/attempts.log" ] || tail -n 5 "$records/attempts.log"
}

command_down() {
  if [ -z "$all_mine" ]; then remove && return || exit 1; fi
  local place kind filter names one result=0
  for place in $({ column 5 && echo "$zone"; } | sort -u); do
    at=(--zone="$place" --project="$project")
    for kind in queued-resources tpu-vm; do
      filter="tpu.nodeSpec.node.labels.posjax_user=$user"
      [ $kind = queued-resources ] || filter="labels.posjax_user=$user AND NOT queuedResource:*"
      names=$(ask '' gcloud compute tpus "$kind" list "${at[@]}" --filter="$filter" \
        --format='value(name.basename())') || { say "$place: $(said)" && result=1; }
      for one in $names; do delete "$one" "$kind" || result=1; done
    done
  done
  exit $result
}

# ---- the command line --------------------------------------------------------------------------------------

FLAGS=tpu,zone,project,bucket,config,name,image,slices,attempts,wait,max-run,spot,reserved,flex-start,direct
FLAGS=$FLAGS,allow-dirty,all-mine,dry-run,help
COMMANDS=up,run,resume,all,logs,status,down
tpu=${POSJAX_TPU:-} zone=${POSJAX_ZONE:-} project=${POSJAX_PROJECT:-} bucket=${POSJAX_BUCKET:-}
config='' name='' image='' slices=1 attempts=5 wait=24h max_run=
spot='' reserved='' flex='' direct='' allow_dirty='' all_mine='' dry_run=
owned='' creating='' hosts=0 codes='' progress='' main_flags=()

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --tpu=*) tpu=${1#*=} ;;
      --zone=*) zone=${1#*=} ;;
      --project=*) project=${1#*=} ;;
      --bucket=*) bucket=${1#*=} ;;
      --config=*) config=${1#*=} ;;
      --name=*) name=${1#*=} ;;
      --image=*) image=${1#*=} ;;
      --slices=*) slices=${1#*=} ;;
      --attempts=*) attempts=${1#*=} ;;
      --wait=*) wait=${1#*=} ;;
      --max-run=*) max_run=${1#*=} ;;
      --spot) spot=yes ;;
      --reserved) reserved=yes ;;
      --flex-start) flex=yes ;;
      --direct) direct=yes ;;
      --allow-dirty) allow_dirty=yes ;;
      --all-mine) all_mine=yes ;;
      --dry-run) dry_run=yes ;;
      --help) usage && exit ;;
      --) shift && main_flags=("$@") && break ;;
      --config.*) usage_error "$1 is a flag of posjax.main; write it after --" ;;
      --*) flag=${1%%=*} && usage_error "no flag $flag; did you mean --$(lines "$FLAGS" | nearest "${flag#--}")?" ;;
      *) usage_error "$1: flags are written --NAME=VALUE, and those of posjax.main after --" ;;
    esac
    shift
  done
  for flag in ${main_flags[@]+"${main_flags[@]}"}; do
    case $flag in --workdir*) usage_error "$flag: the work directory follows from --bucket= and --name=" ;; esac
  done
  main_flags=(--config="$config" ${main_flags[@]+"${main_flags[@]}"})
}

clean_up() { # whatever ends the program while machines are being made: they are deleted first
  local code=$?
  trap - EXIT
  trap '' INT TERM HUP PIPE # a second Ctrl-C must not stop the deletion
  # In a trap, `return` alone has the status from before the trap: what is called here says `return 0`.
  if [ -n "$owned" ]; then
    remove || code=1
  elif [ $code = 130 ] && [ -z "$all_mine" ]; then
    say "$name may still be up, and billed; delete it with: $(down_line)"
  fi
  [ -n "$dry_run" ] || rm -f "$errors"
  exit "$code"
}

main() {
  local command=${1:-}
  case $command in
    up | run | resume | all | logs | status | down) shift ;;
    --help | -h | '') usage && exit ;;
    *) usage_error "no command $command; did you mean $(lines $COMMANDS | nearest "$command")?" ;;
  esac
  exec 3>&1 # where commands and comments go, also from inside $(...)
  parse "$@"
  user=$(slug "${USER:-$(id -un)}")
  [ -n "$name" ] || [ -z "$config" ] || name=$(slug "posjax-$(basename "${config%%:*}" .py)-$user")
  [ -z "$all_mine" ] || [ "$command" = down ] || usage_error "--all-mine: only with down"
  if [ -n "$all_mine" ]; then need project "$project" my-project; else check_choices && check_place; fi
  at=(--zone="$zone" --project="$project")
  records=runs/launch/$name
  case $command in
    up | run | resume | all)
      check_type
      check_bucket_name
      check_config
      check_commit
      [ -z "$flex" ] || max_run=${max_run:-24h}
      workdir=gs://$bucket/posjax/$name
      ;;
  esac
  errors=/dev/null
  [ -n "$dry_run" ] || { errors=$(mktemp) && mkdir -p "$records"; }
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  trap 'exit 141' PIPE
  case $command in up | run | resume | all) check_with_google ;; esac
  "command_$command"
}

main "$@"
