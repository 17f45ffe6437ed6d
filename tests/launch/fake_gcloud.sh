#!/bin/sh
# Stands for gcloud in tests/launch. It keeps its state in the folder $FAKE and answers from scripts there:
# the file VERB has one answer in a line, "EXIT_CODE TEXT" with | for a line break, which are used up in
# their order; the last one stays. `state` and `worker` may have a file for each creation: state.1, state.2.
# $FAKE/calls is what was asked, a verb in a line; $FAKE/args-1, args-2, ... are the arguments.

case "$*" in
  *failedData*) verb=why ;;
  *'buckets describe'*) verb=bucket ;;
  *'accelerator-types describe'*) verb=type ;;
  *'versions describe'*) verb=image ;;
  *networkEndpoints*) verb=hosts ;;
  *' create '*) verb=create ;;
  *' delete '*) verb=delete ;;
  *' describe '*) verb=state ;;
  *' list '*) verb=list ;;
  *' scp '*) verb=scp ;;
  *'tpu_worker.sh setup '*) verb=setup ;;
  *'tpu_worker.sh start '*) verb=start ;;
  *'tpu_worker.sh state'*) verb=worker ;;
  *'tpu_worker.sh '*) verb=log ;;
  *) echo "fake gcloud: what is this? $*" >&2 && exit 99 ;;
esac
echo "$verb" >>"$FAKE/calls"
number=0
read -r number 2>/dev/null <"$FAKE/number" || :
number=$((number + 1))
echo $number >"$FAKE/number"
printf '%s\0' "$@" >"$FAKE/args-$number"

created=0
read -r created 2>/dev/null <"$FAKE/created" || :
not_found() { echo "ERROR: (gcloud) NOT_FOUND: Resource was not found" >&2 && exit 1; }
case $verb in
  state | why | delete) [ -e "$FAKE/exists" ] || not_found ;;
  create) echo $((created + 1)) >"$FAKE/created" && : >"$FAKE/exists" ;;
esac

file=$FAKE/$verb
[ ! -e "$file.$created" ] || file=$file.$created
if [ -e "$file" ]; then
  rest=
  { read -r answer && while read -r line; do rest="$rest$line
"; done; } <"$file"
  [ -z "$rest" ] || printf %s "$rest" >"$file"
else
  case $verb in
    bucket) answer='0 US-WEST4' ;;
    hosts) answer='0 4' ;;
    state) answer='0 ACTIVE' ;;
    worker) answer='0 posjax-state: absent on h|posjax-state: absent on h|posjax-state: absent on h|posjax-state: absent on h' ;;
    *) answer=0 ;;
  esac
fi
code=${answer%% *}
text=${answer#"$code"}
text=${text# }
case $text in
  SLEEP) exec sleep 30 ;; # until a signal
  LATE) # made after the signal
    rm "$FAKE/exists"
    # The request outlives the signal: it says `late` only when it ignores it.
    (trap '' INT && : >"$FAKE/late" && sleep 0.4 && : >"$FAKE/exists") &
    exec sleep 30 ;;
  PAUSE) sleep 0.3 ;;
  *) set -f && IFS='|' && [ -z "$text" ] || printf '%s\n' $text ;;
esac
if [ "$code" != 0 ]; then
  echo "ERROR: (gcloud) $verb failed" >&2
  [ "$verb" != create ] || rm -f "$FAKE/exists"
elif [ "$verb" = delete ]; then
  rm -f "$FAKE/exists"
fi
exit "$code"
