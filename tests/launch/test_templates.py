"""Templates for SLURM, GKE and SkyPilot keep the promises of launch_tpu.sh."""

import os
import re
import shlex
import subprocess

import pytest
import yaml

from tests.support.launch import BASH, ROOT

FOLDER = ROOT / 'experiments/launch'
VALUES = ["it's", 'a b', '$HOME', 'two\nlines']
FLAGS = ['--config=configs/rope.py', *(f'--config.generate.stop={value}' for value in VALUES)]


def fake(folder, name, text):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(f'#!/bin/sh\n{text}\n')
  path.chmod(0o755)


@pytest.mark.parametrize(
  ('code', 'restarts', 'requeued'),
  [(0, 0, False), (42, 0, True), (42, 19, True), (42, 20, False), (3, 0, False), (2, 0, False)],
)
def test_slurm_requeues_after_42_alone(tmp_path, code, restarts, requeued):
  fake(tmp_path, 'srun', f'printf "%s\\0" "$JAX_LOCAL_DEVICE_IDS" "$@" >srun.log; exit {code}')
  fake(tmp_path, 'scontrol', 'echo "$*" >scontrol.log')
  environment = {
    **os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '7',
    'SLURM_NNODES': '2',
    'SLURM_GPUS_ON_NODE': '4', 'SLURM_RESTART_COUNT': str(restarts),
  }
  result = subprocess.run([BASH, FOLDER / 'slurm.sbatch', *FLAGS], cwd=tmp_path, env=environment)
  assert result.returncode == code
  log = tmp_path / 'scontrol.log'
  assert log.exists() == requeued and (not requeued or log.read_text() == 'requeue 7\n')
  devices, *words = (tmp_path / 'srun.log').read_text().split('\0')[:-1]
  assert devices == '0,1,2,3'  # one process has all GPUs of its host
  program = ['.venv/bin/python', '-u', '-m', 'posjax.main', '--workdir=runs/slurm-7']
  assert words == ['--kill-on-bad-exit=0', '--wait=60', *program, '--hosts=2', *FLAGS]


def test_slurm_header():
  text = (FOLDER / 'slurm.sbatch').read_text()
  options = dict(re.findall(r'^#SBATCH --([\w-]+)(?:=(\S+))?$', text, re.M))
  assert options['ntasks-per-node'] == '1' and 'requeue' in options
  # Without `B:` the signal reaches the program, not the shell, which would not hand it on.
  assert re.fullmatch(r'TERM@\d+', options['signal']) and options['open-mode'] == 'append'


def test_gke(tmp_path):
  fake(tmp_path, 'xpk', f'printf "%s\\0" "$@" >{tmp_path}/log')
  environment = {
    **os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'CLUSTER': 'c', 'PROJECT': 'p',
    'ZONE': 'z', 'STORAGE': 's',
  }
  words = [BASH, FOLDER / 'gke_xpk.sh', 'run-1', 'v5litepod-16', *FLAGS]
  subprocess.run(words, env=environment, check=True)
  words = (tmp_path / 'log').read_text().split('\0')[:-1]
  assert words[:2] == ['workload', 'create']
  flags = dict(word.removeprefix('--').split('=', 1) for word in words[2:])
  assert flags['tpu-type'] == 'v5litepod-16' and flags['storage'] == 's'
  assert int(flags['max-restarts']) > 0 and int(flags['termination-grace-period-seconds']) >= 60
  last = flags['command'].rpartition(' && ')[2]
  script = f'exec() {{ printf "%s\\0" "$@"; }}; {last}'
  argv = subprocess.run([BASH, '-c', script], capture_output=True, text=True).stdout.split('\0')
  assert argv[:-1] == ['python', '-u', '-m', 'posjax.main', '--workdir=/data/posjax/run-1', *FLAGS]


def test_skypilot(tmp_path):
  task = yaml.safe_load((FOLDER / 'skypilot.yaml').read_text())
  assert {'name', 'workdir', 'envs', 'resources', 'file_mounts', 'setup', 'run'} == set(task)
  resources = task['resources']
  assert resources['use_spot'] is True
  # 42 alone is recovered from; the default would be no error, and this must not be more.
  assert resources['job_recovery'] == {'max_restarts_on_errors': 0, 'recover_on_exit_codes': [42]}
  assert resources['accelerator_args'] == {'runtime_version': 'v2-alpha-tpuv6e'}
  ((mount, storage),) = task['file_mounts'].items()
  assert storage['source'].startswith('gs://') and storage['mode'] == 'MOUNT'
  for script in (task['setup'], task['run']):
    assert subprocess.run([BASH, '-n'], input=script, text=True).returncode == 0
  program = tmp_path / 'posjax-env/bin/python'
  fake(tmp_path, 'posjax-env/bin/python', 'printf "%s\\0" "$JAX_PLATFORMS" "$@"; exit 42')
  environment = {
    'HOME': str(tmp_path), 'PATH': os.environ['PATH'], 'NAME': 'rope', 'FLAGS': shlex.join(FLAGS),
  }
  run = subprocess.run([BASH, '-c', task['run']], env=environment, capture_output=True, text=True)
  argv = ['-u', '-m', 'posjax.main', f'--workdir={mount}/posjax/rope', *FLAGS]
  assert program.exists() and run.returncode == 42
  assert run.stdout.split('\0')[:-1] == ['tpu,cpu', *argv]


def test_versions_agree():
  """uv and Python are the same wherever a machine is set up."""
  worker = (FOLDER / 'tpu_worker.sh').read_text()
  uv, python = (re.search(rf'^{name}=(.*)$', worker, re.M)[1] for name in ('UV', 'PYTHON'))
  task = (FOLDER / 'skypilot.yaml').read_text()
  assert f'/uv/{uv}/' in task and f'--python {python} ' in task
  assert f'python:{python}-slim' in (FOLDER / 'gke_xpk.sh').read_text()
  requirements = (FOLDER / 'tpu_requirements.txt').read_text()
  assert f'--python-version {python}' in requirements
