#!/usr/bin/env bash
# Trains on a GKE cluster that xpk (https://github.com/AI-Hypercomputer/xpk, flags of 1.16) has made:
#
#   CLUSTER=my-cluster PROJECT=my-project ZONE=us-west4-a STORAGE=my-bucket \
#     experiments/launch/gke_xpk.sh NAME v5litepod-16 --config=configs/rope.py
#
# STORAGE is a bucket that was attached as a folder, /data here, by `xpk storage attach`. posjax needs a
# folder that all hosts share, and the work directory must outlive the pods.
set -euo pipefail
cd "$(dirname "$0")/../.."

name=$1 tpu=$2
shift 2
install='pip install -q -r experiments/launch/tpu_requirements.txt && pip install -q --no-deps -e .'
program="python -u -m posjax.main --workdir=/data/posjax/$name$(printf ' %q' "$@")" # a shell reads it again

# One pod, and so one process, for each host; JAX finds the others by GKE's variables. `exec` hands
# SIGTERM to posjax.main, which has two minutes to save. xpk restarts all pods if one exits with 42, or
# with 127 to 255, and with no other code: 2 is a mistake, 3 diverged.
xpk workload create \
  --cluster="$CLUSTER" --project="$PROJECT" --zone="$ZONE" \
  --workload="$name" --tpu-type="$tpu" --num-slices=1 \
  --max-restarts=20 --termination-grace-period-seconds=120 \
  --storage="$STORAGE" \
  --base-docker-image=python:3.12-slim --script-dir=. \
  --command="$install && JAX_PLATFORMS=tpu,cpu exec $program"
