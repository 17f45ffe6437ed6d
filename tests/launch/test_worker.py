"""A host, for real but for its packages, its bucket and its TPU: gcloud runs the commands here."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from tests.support.launch import NAME, ROOT, RUN

needs_linux = pytest.mark.skipif(not shutil.which('setsid'), reason='hosts are Linux')
PROGRAM = '''#!{python}
import json, os, pathlib, signal, sys, time
home = pathlib.Path(os.environ['HOME'])
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), os._exit(42)))
with (home / 'argv').open('a') as file:
  print(json.dumps([sys.argv[1:], os.getcwd(), os.environ['JAX_PLATFORMS']]), file=file)
print('step 1', flush=True)
while not (home / 'code').exists():
  time.sleep(0.01)
sys.exit(int((home / 'code').read_text()))
'''
GCLOUD = '''#!/bin/sh
# ssh and scp go to this machine; the rest is the fake gcloud's.
case "$*" in
  *' scp '*) cp "$5" "$HOST/${6#*:}" && exec "$FAKE_GCLOUD" "$@" ;;
  *' ssh '*)
    "$FAKE_GCLOUD" "$@" >/dev/null
    for word; do case $word in --command=*) command=${word#*=} ;; esac; done
    cd "$HOST" && HOME=$HOST PATH=$HOST/bin:/usr/bin:/bin exec bash -c "$command" ;;
  *) exec "$FAKE_GCLOUD" "$@" ;;
esac
'''
HOST = {
  'uv': '[ "$1" != --version ] || echo "uv $UV"\n[ "$1" != pip ] || echo "$*" >>"$HOME/pip"\n',
  'mountpoint': 'exit 1\n',
  'gcsfuse': 'echo "$*" >"$HOME/mounted"\n',
  'hostname': 'echo t1v-n-1-w-0\n',
}


@pytest.fixture
def host(launch, tmp_path, request):
  """A machine that ssh of the fake gcloud leads to."""
  host = tmp_path / 'host'
  (host / 'bin').mkdir(parents=True)
  (host / 'posjax-env/bin').mkdir(parents=True)
  worker = (ROOT / 'experiments/launch/tpu_worker.sh').read_text()
  version = next(line for line in worker.splitlines() if line.startswith('UV='))
  files = {host / 'bin' / name: f'#!/bin/sh\n{version}\n{text}' for name, text in HOST.items()}
  files[host / 'posjax-env/bin/python'] = PROGRAM.format(python=shutil.which('python3'))
  files[launch.bin / 'gcloud'] = GCLOUD
  for path, text in files.items():
    path.write_text(text)
    path.chmod(0o755)
  (launch.bin / 'cp').symlink_to(shutil.which('cp'))
  launch.env |= {'HOST': str(host), 'FAKE_GCLOUD': str(ROOT / 'tests/launch/fake_gcloud.sh')}
  launch.answers('hosts', '0 1')
  yield host
  (host / 'code').write_text('0')  # whatever happened, the program ends


def on(host, *words):
  environment = {'HOME': str(host), 'PATH': f'{host}/bin:/usr/bin:/bin'}
  command = ['bash', 'posjax/experiments/launch/tpu_worker.sh', *words]
  return subprocess.run(command, cwd=host, env=environment, capture_output=True, text=True).stdout


def wait_for(path):
  end = time.monotonic() + 30
  while not path.exists() or not path.read_text():
    assert time.monotonic() < end
    time.sleep(0.01)


def signal_run(host, number):
  """Signals the program and the shell around it, as a machine that goes away does."""
  group = int((host / 'posjax-run/pid').read_text())
  assert os.getpgid(group) == group != os.getpgrp()  # a session of its own, none of this test's
  os.killpg(group, number)


FLAGS = ["--config.generate.stop=it's $HOME `x` \"y\"", '--config.note=two\nlines', '--config.z=']


@needs_linux
@pytest.mark.parametrize('code', [0, 3])
def test_from_the_command_line_to_the_program(launch, host, code):
  (host / 'code').write_text(str(code))
  assert launch('all', *RUN, '--', *FLAGS) == code
  folder = host / f'posjax-bucket/posjax/{NAME}'
  (call,) = map(json.loads, (host / 'argv').read_text().splitlines())
  program = ['-u', '-m', 'posjax.main', f'--workdir={folder}', '--hosts=1']
  argv = [*program, '--config=configs/rope.py', *FLAGS]
  assert call == [argv, str(host / 'posjax'), 'tpu,cpu']
  assert (host / 'posjax/configs/rope.py').exists()
  assert (host / 'mounted').read_text().split()[-2:] == ['my-bucket', str(host / 'posjax-bucket')]
  installed = (host / 'pip').read_text().splitlines()
  assert installed[0].endswith('tpu_requirements.txt') and '--no-deps' in installed[1]
  (log,) = (folder / 'logs').iterdir()
  first, *_, last = log.read_text().splitlines()
  assert first.startswith('commit ') and last == f'exit code {code}'
  assert launch.calls()[-1] == 'delete'


@needs_linux
def test_sigterm_is_42_and_the_state_says_so(launch, host):
  process = launch.start('all', *RUN, '--attempts=1')
  wait_for(host / 'argv')
  assert on(host, 'state') == 'posjax-state: running on t1v-n-1-w-0: step 1\n'
  assert 'running already' in on(host, 'start', 'commit', 'gs://my-bucket/x')
  signal_run(host, signal.SIGTERM)
  process.communicate(timeout=60)
  assert process.returncode == 42
  assert on(host, 'state').startswith('posjax-state: 42 on ')
  assert len((host / 'argv').read_text().splitlines()) == 1


@needs_linux
def test_a_host_that_was_restarted(launch, host):
  process = launch.start('all', *RUN, '--attempts=1')
  wait_for(host / 'argv')
  signal_run(host, signal.SIGKILL)
  process.communicate(timeout=60)
  assert process.returncode == 42
  assert on(host, 'state').startswith('posjax-state: lost on ')


def test_the_packages_are_those_of_setup():
  """Each requirement of posjax, and of its TPU extra, has one version on the hosts."""
  from packaging.requirements import Requirement
  from packaging.utils import canonicalize_name

  text = (ROOT / 'experiments/launch/tpu_requirements.txt').read_text()
  lines = [line for line in text.splitlines() if not line.startswith('#')]
  pinned = dict(line.split('==') for line in lines)
  source = (ROOT / 'setup.py').read_text()
  block = source[source.index('install_requires=['):source.index('extras_require')]
  wanted = [Requirement(word) for word in shlex.split(block, comments=True) for word in
            [word.strip(',[]')] if word and 'install_requires' not in word]
  assert len(wanted) > 10
  for one in wanted:
    assert one.specifier.contains(pinned[canonicalize_name(one.name)]), one
  assert 'libtpu' in pinned and 'requests' in pinned  # JAX reads the cluster with requests
