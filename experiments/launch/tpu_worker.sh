#!/usr/bin/env bash
# One host of a TPU slice. launch_tpu.sh copies this file with the code and calls it on every worker:
#
#   tpu_worker.sh setup BUCKET                installs Python and the pinned packages, mounts the bucket
#   tpu_worker.sh start COMMIT URL FLAG...    runs posjax.main in the background; URL is its work directory
#   tpu_worker.sh state                       prints "posjax-state: STATE on HOST: last line of the log"
#   tpu_worker.sh log LINES                   prints the end of the log
#   tpu_worker.sh follow                      prints the log as it grows
#
# STATE is running, an exit code of posjax.main, lost (the host was restarted) or absent (never started).
# Everything is in the home directory: posjax/ the code, posjax-env/ its Python, posjax-run/ the log.
set -euo pipefail

UV=0.13.9
PYTHON=3.12
code=$HOME/posjax env=$HOME/posjax-env run=$HOME/posjax-run bucket=$HOME/posjax-bucket

setup() {
  export PATH="$HOME/.local/bin:$PATH"
  # The images' own Python is older than posjax needs, and belongs to the system.
  if [ "$(uv --version 2>/dev/null | cut -d' ' -f2)" != "$UV" ]; then
    curl -LsSf "https://astral.sh/uv/$UV/install.sh" | sh
  fi
  [ -x "$env/bin/python" ] || uv venv --quiet --python "$PYTHON" "$env"
  uv pip install --quiet --python "$env/bin/python" -r "$code/experiments/launch/tpu_requirements.txt"
  uv pip install --quiet --python "$env/bin/python" --no-deps -e "$code"
  mount_bucket "$1"
}

# posjax reads and writes folders, not gs:// URLs, so the bucket becomes a folder of every host.
mount_bucket() {
  if mountpoint -q "$bucket"; then return; fi
  command -v gcsfuse >/dev/null || install_gcsfuse
  mkdir -p "$bucket"
  # A checkpoint is complete when its folder is renamed, which gcsfuse refuses by default in a bucket
  # without hierarchical namespace. Without the caches, a host sees immediately what another host wrote.
  gcsfuse --implicit-dirs --rename-dir-limit=100000 --metadata-cache-ttl-secs=0 \
    --metadata-cache-negative-ttl-secs=0 "$1" "$bucket"
  touch "$bucket/.posjax-can-write"
}

install_gcsfuse() {
  local key=/usr/share/keyrings/cloud.google.asc
  curl -LsSf https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee "$key" >/dev/null
  echo "deb [signed-by=$key] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  # A new machine updates itself in its first minutes and holds apt's lock.
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 update
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 install -y gcsfuse
}

# A second start does nothing while the first one runs: launch_tpu.sh repeats a call whose ssh failed.
start() {
  if [ "$(state)" = running ]; then echo 'posjax is running already'; return; fi
  mkdir -p "$run"
  rm -f "$run/exit"
  nohup setsid bash "$code/experiments/launch/tpu_worker.sh" main "$@" >"$run/log" 2>&1 </dev/null &
  echo $! >"$run/pid"
}

main() {
  local commit=$1 url=$2 program result=0 folder
  shift 2
  folder=$bucket/${url#gs://*/}
  trap : TERM # a machine that goes away signals this shell too, which must outlive posjax.main
  echo "commit $commit on $(hostname), $(date -u +%Y-%m-%dT%H:%M:%SZ), $url"
  cd "$code"
  # With tpu named, JAX stops if it finds no TPU; it would train on the CPU otherwise.
  JAX_PLATFORMS=tpu,cpu "$env/bin/python" -u -m posjax.main --workdir="$folder" "$@" &
  program=$!
  while kill -0 "$program" 2>/dev/null; do wait "$program" || true; done # a signal ends `wait` early
  wait "$program" || result=$?
  echo "exit code $result"
  echo "$result" >"$run/exit.tmp" && mv "$run/exit.tmp" "$run/exit"
  # The log outlives the machine next to the checkpoints.
  mkdir -p "$folder/logs" && cp "$run/log" "$folder/logs/$(date -u +%Y%m%dT%H%M%SZ)-$(hostname).log"
}

state() {
  if [ ! -e "$run/pid" ]; then
    echo absent
  elif ps -p "$(cat "$run/pid")" -o args= 2>/dev/null | grep -q 'tpu_worker.sh main'; then
    echo running
  elif [ -s "$run/exit" ]; then
    cat "$run/exit"
  else
    echo lost
  fi
}

case $1 in
  setup | start | main) "$@" ;;
  state) echo "posjax-state: $(state) on $(hostname): $(tail -n 1 "$run/log" 2>/dev/null)" ;;
  log) tail -n "$2" "$run/log" ;;
  follow) tail -n 100 -F "$run/log" ;;
  *) echo "tpu_worker.sh: no command $1; one of setup, start, state, log, follow" >&2 && exit 2 ;;
esac
