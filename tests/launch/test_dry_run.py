"""What --dry-run prints: golden files, commands that a shell reads back; and it touches nothing.

POSJAX_GOLDEN=write rewrites tests/golden/launch; read the difference before you commit it.
"""

import os
import re
import shlex
import shutil
import subprocess

import pytest

from tests.support.launch import NAME, ROOT, RUN, WHERE, git

GOLDEN = ROOT / 'tests/golden/launch'
FULL = {
  'v5e_spot': ('all', *RUN, '--spot', '--', '--config.train.steps=1000'),
  'v6e_queued': (
    'all', '--tpu=v6e-32', '--zone=us-east1-d', '--project=my-project', '--bucket=gs://my-bucket',
    '--config=configs/rope.py:large', '--wait=6h',
  ),
  'v5p_reserved': (
    'all', '--tpu=v5p-64', '--zone=us-east5-a', '--project=my-project', '--bucket=gs://my-bucket',
    '--config=fox', '--reserved', '--name=fox-1',
  ),
  'flex_start': ('all', *RUN, '--flex-start', '--max-run=3d'),
  'two_slices': ('all', *RUN, '--slices=2', '--spot'),
  'dirty_tree_allowed': ('all', *RUN, '--allow-dirty'),
  'direct': ('all', *RUN, '--direct', '--spot'),
}
REFUSED = {
  'dirty_tree': ('all', *RUN),
  'missing_bucket': ('all', '--tpu=v5litepod-16', '--config=configs/rope.py', *WHERE),
}

# Flags of gcloud that the script uses, checked against gcloud's own help where it is installed.
WIDE = {'--project', '--quiet', '--format'}
QUEUE = 'compute tpus queued-resources'
CREATE = {
  '--zone', '--accelerator-type', '--runtime-version', '--node-id', '--node-count', '--node-prefix',
  '--spot', '--reserved', '--valid-until-duration', '--labels',
}
FLAGS = {
  'storage buckets describe': set(),
  'compute tpus tpu-vm accelerator-types describe': {'--zone'},
  'compute tpus tpu-vm versions describe': {'--zone'},
  f'{QUEUE} create': CREATE,
  f'alpha {QUEUE} create': CREATE | {'--provisioning-model', '--max-run-duration'},
  f'{QUEUE} describe': {'--zone'},
  f'{QUEUE} list': {'--zone', '--filter'},
  f'{QUEUE} delete': {'--zone', '--force'},
  'compute tpus tpu-vm create': {
    '--zone', '--accelerator-type', '--version', '--spot', '--reserved', '--labels',
  },
  'compute tpus tpu-vm describe': {'--zone'},
  'compute tpus tpu-vm list': {'--zone', '--filter'},
  'compute tpus tpu-vm delete': {'--zone'},
  'compute tpus tpu-vm ssh': {'--zone', '--worker', '--command'},
  'compute tpus tpu-vm scp': {'--zone', '--worker'},
}


@pytest.fixture
def dry(offline):
  """Runs a dry run where gcloud is absent, and sees that no file has changed."""

  def run(command, *flags):
    offline.code = offline(command, '--dry-run', *flags)
    return offline

  yield run
  git(offline.clone, 'checkout', '-q', '.')
  assert not (offline.clone / 'runs').exists()
  assert git(offline.clone, 'status', '--porcelain') == ''


def commands(text):
  """The commands of a script, as the shell's words; a comment is a whole line."""
  result, line = [], ''
  for part in text.splitlines():
    if not line and part.startswith('# '):
      continue
    line += part
    try:
      result.append(shlex.split(line))
      line = ''
    except ValueError:  # a quotation goes on in the next line
      line += '\n'
  assert not line
  return result


def verb(words):
  """'compute tpus tpu-vm ssh' of a command of gcloud."""
  assert words[0] == 'gcloud'
  plain = [word for word in words[1:] if not word.startswith('-')]
  return next(' '.join(plain[:n]) for n in range(len(plain), 0, -1) if ' '.join(plain[:n]) in FLAGS)


def golden(name, launch, flags):
  shown = f'$ ./launch_tpu.sh {shlex.join([flags[0], "--dry-run", *flags[1:]])}\n{launch.out}'
  shown += f'{launch.err}exit code {launch.code}\n'
  shown = shown.replace(git(launch.clone, 'rev-parse', '--short=12', 'HEAD'), 'COMMIT')
  path = GOLDEN / f'{name}.txt'
  if os.environ.get('POSJAX_GOLDEN') == 'write':
    path.write_text(shown)
  assert shown == path.read_text()


def run_golden(dry, offline, name, flags):
  """Returns the dry run of a scenario, whose output must be that of its golden file."""
  if name.startswith('dirty'):
    (offline.clone / 'configs/rope.py').write_text('changed = True\n')
  launch = dry(*flags)
  golden(name, launch, flags)
  return launch


@pytest.mark.parametrize('name', FULL)
def test_all_that_would_be_run(dry, offline, name):
  launch = run_golden(dry, offline, name, FULL[name])
  calls = [words for words in commands(launch.out) if words[0] == 'gcloud']
  for words in calls:
    used = {word.partition('=')[0] for word in words if word.startswith('--')}
    assert used <= FLAGS[verb(words)] | WIDE
    if verb(words).endswith((' ssh', ' scp')):
      assert '--worker=all' in words
    if verb(words).startswith('compute tpus'):
      assert {'--project=my-project'} <= set(words) and '--zone' in used
  create = [words for words in calls if ' create' in verb(words)]
  delete = [words for words in calls if verb(words).endswith(' delete')]
  assert len(create) == len(delete) == 1
  (labels,) = [word for word in create[0] if word.startswith('--labels=')]
  made = create[0][create[0].index('create') + 1]
  commit = git(launch.clone, 'rev-parse', '--short=12', 'HEAD')
  commit += '-dirty' * name.startswith('dirty')
  assert labels == f'--labels=posjax={made},posjax_user=ann,posjax_commit={commit}'
  assert delete[0][delete[0].index('delete') + 1] == made
  # Checks come before the cost, the cost before anything is made, the deletion last.
  assert [verb(words) for words in calls[:3]] == list(FLAGS)[:3]
  assert launch.out.index('# cost: ') < re.search('^gcloud .* create ', launch.out, re.M).start()
  assert calls[-1] == delete[0]


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_refused(dry, offline, name):
  launch = run_golden(dry, offline, name, REFUSED[name])
  assert launch.code == 2 and launch.out == ''


def test_every_golden_file_is_tested():
  assert {path.stem for path in GOLDEN.glob('*.txt')} == {*FULL, *REFUSED}


VALUES = ["it's", 'a b', '"', '$HOME `x` \\', 'two\nlines\n', '*', '', '#', "'", '-- --tpu=v6e-8']


def test_overrides_survive_both_shells(dry, tmp_path):
  """The local shell reads the printed command; the host's shell reads what --command holds."""
  flags = [f'--config.generate.stop={value}' for value in VALUES]
  launch = dry('run', *RUN, '--', *flags)
  (start,) = [words for words in commands(launch.out) if 'tpu_worker.sh start' in words[-1]]
  command = start[-1].removeprefix('--command=')
  script = f'bash() {{ printf "%s\\0" "$@"; }}; {command}'
  for shell in ('sh', 'bash'):
    words = subprocess.run([shell, '-c', script], capture_output=True, text=True).stdout.split('\0')
    assert words[4:-1] == ['--hosts=HOSTS', '--config=configs/rope.py', *flags]


def test_what_is_printed_can_be_pasted(dry, launch):
  """A shell that runs the printed commands makes the same calls as the script."""
  printed = dry('all', *RUN, '--', '--config.generate.stop=a\n b').out
  launch.install_gcloud()
  subprocess.run(['bash', '-c', printed], cwd=launch.clone, env=launch.env, capture_output=True)
  assert not launch.exists() and launch.calls()[-1] == 'delete'
  launch.hosts(2, 'absent', '0')
  launch('all', *RUN, '--', '--config.generate.stop=a\n b')
  shutil.rmtree(launch.clone / 'runs')
  half = len(launch.calls()) // 2
  assert launch.calls()[:half] == launch.calls()[half:]
  for call in ('create', 'scp', 'setup', 'start', 'delete'):
    pasted, made = launch.arguments(call)
    hosts = [word.replace('HOSTS', '4') for word in pasted]  # a dry run does not know it
    assert hosts == made


def test_a_dry_run_asks_nothing(launch):
  for command in ('all', 'up', 'run', 'resume', 'logs', 'status', 'down'):
    assert launch(command, '--dry-run', *RUN) == 0 and launch.out
  assert launch('down', '--dry-run', '--all-mine', '--project=my-project') == 0
  assert launch.out.count('tpu-vm list') == 10
  assert launch.calls() == [] and not (launch.clone / 'runs').exists()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('gcloud'), reason='gcloud is not installed')
@pytest.mark.parametrize('name', FLAGS)
def test_gcloud_has_the_flags(name):
  """Only its help is read: a developer who is logged in creates nothing."""
  words = ['gcloud', *name.split(), '--help']
  text = subprocess.run(words, capture_output=True, text=True, env={**os.environ, 'PAGER': 'cat'})
  known = set(re.findall(r'--[a-z][a-z-]*', re.sub(r'\x1b\[[0-9;]*m', '', text.stdout)))
  assert text.returncode == 0 and FLAGS[name] | WIDE <= known


def test_name_is_that_of_the_config_and_the_user(dry):
  assert f'create {NAME} ' in dry('up', *RUN).out
