"""Injects every known fault into the real program and prints how runs survive.

  python -m tests.support.faults [FAULT ...]

Each fault starts runs, interrupts them or damages their files, and repeats the same command. It
asserts that nothing saved is lost: results equal those of an undisturbed run bit for bit.
"""

import os
import pathlib
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tests.support.lab import without_privileges
from tests.support.several import Hosts, free_port

FAULTS = {}
RANDOM_KILLS = 20
LONG = ('train.steps=4000', 'checkpoint.every=100')


def fault(name):
  """Registers a function of a lab that returns how many times it tried the fault."""

  def register(function):
    FAULTS[name] = function
    return function

  return register


@fault('kill -9 while the data are prepared')
def preparing(lab):
  own = ('data.corpus=tfds:python_source', f'data.directory={lab.root / "tfds"}', 'train.steps=40')
  process = lab.start('preparing', *own)
  lab.kill(process, lambda: any(lab.root.glob('tfds/**/*incomplete*')))
  assert not (lab.root / 'preparing').exists()
  lab.run('preparing', *own)
  lab.run('prepared', *own)
  lab.assert_nothing_lost('preparing', 'prepared')
  return 1


@fault('kill -9 in the first compilation')
def compiling(lab):
  cold = lab.environment | {'JAX_COMPILATION_CACHE_DIR': str(lab.root / 'cold')}
  process = lab.start('compiling', env=cold)
  lab.kill(process, lambda: (lab.root / 'compiling/lock').exists() and time.sleep(0.5) is None)
  assert not lab.lines('compiling')
  lab.run('compiling')
  lab.assert_nothing_lost('compiling')
  return 1


@fault('kill -9 between two steps, before the first checkpoint and after')
def between(lab):
  for step in (20, 130, 240):
    process = lab.start('between')
    lab.kill(process, lambda step=step: len(lab.lines('between')) * 5 >= step)
  lab.run('between')
  lab.assert_nothing_lost('between')
  return 3


@fault('kill -9 inside a save: the first, and a later one')
def saving(lab):
  folder = lab.root / 'saving/checkpoints'
  begun = lambda: any('tmp' in path.name for path in folder.glob('*'))
  written = lambda: any(folder.glob('*tmp*/state*/ocdbt*/d/*'))
  tried = 0
  for at_least, moment in ((0, begun), (100, written)):
    inside = False
    while not inside:  # the save may finish before the signal
      process = lab.start('saving')
      lab.kill(process, lambda at=at_least, now=moment: lab.newest('saving') >= at and now())
      inside = begun()
      tried += 1
  lab.run('saving')
  lab.assert_nothing_lost('saving')
  return tried


@fault('kill -9 in the last evaluation')
def evaluating(lab):
  process = lab.start('evaluating')
  lab.kill(process, lambda: lab.newest('evaluating') == 400)
  assert not (lab.root / 'evaluating/evaluation.json').exists()
  lab.run('evaluating')
  lab.assert_nothing_lost('evaluating')
  return 1


@fault('kill -9 at random moments')
def at_random(lab):
  """Kills a run at random moments until it completes; then another run, until enough kills."""
  start = time.perf_counter()
  whole = lab.whole('whole_long', *LONG)
  seconds = time.perf_counter() - start  # of one complete run, on this machine, now
  opt_state, kills, runs, resumptions = random.Random(0), 0, 0, 0
  while kills < RANDOM_KILLS:
    workdir, saved, done = f'random{runs}', [], False
    runs += 1
    while not done:
      saved.append(lab.newest(workdir))
      process = lab.start(workdir, *LONG)
      try:
        left = seconds * opt_state.uniform(0.02, 0.5) if kills < RANDOM_KILLS else None
        done = process.wait(left) == 0
        assert done
      except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        kills += 1
    said = (lab.root / f'{workdir}.out').read_text()
    resumed = [int(step) for step in re.findall(r'resuming after step (\d+)\n', said)]
    assert saved == sorted(saved) and {*resumed} <= {*saved}
    assert not saved[-1] or resumed[-1] == saved[-1]
    resumptions += len(resumed)
    lab.assert_nothing_lost(workdir, whole)
  assert resumptions > kills / 4
  lab.transcript.append(f'{kills} kills in {runs} runs, {resumptions} resumptions')
  return kills


@fault('a torn last line of metrics.jsonl')
def torn(lab):
  process = lab.start('torn')
  lab.kill(process, lambda: lab.newest('torn') >= 100)
  with (lab.root / 'torn/metrics.jsonl').open('a') as file:
    file.write('{"step": 105, "lo')
  lab.run('torn')
  lab.assert_nothing_lost('torn')
  return 1


@fault('SIGTERM: saves, exit code 42')
def sigterm(lab):
  return stop(lab, 'sigterm', signal.SIGTERM, saves=42, has_nothing_to_save=42)


@fault('Ctrl-C: saves, exit code 0')
def sigint(lab):
  return stop(lab, 'sigint', signal.SIGINT, saves=0, has_nothing_to_save=130)


def stop(lab, workdir, number, *, saves, has_nothing_to_save):
  """Stops one run repeatedly: it saves the current step and resumes after it."""
  folder, output = lab.root / workdir, lab.root / f'{workdir}.out'
  saving = lambda: any('tmp' in path.name for path in (folder / 'checkpoints').glob('*'))
  opt_state = {
    'before jax is imported': lambda: lab.answers(process, signal.SIGTERM),
    'in the compilation': lambda: 'workdir ' in output.read_text()[before:],
    'in a step': lambda: 5 * len(lab.lines(workdir)) >= 85,
    'in a save': lambda: lab.newest(workdir) >= 150 and saving(),
    'in a later step': lambda: 5 * len(lab.lines(workdir)) >= 280,
    'in the last evaluation': lambda: lab.newest(workdir) == 400 and not saving(),
  }
  for name, moment in opt_state.items():
    before = len(output.read_text()) if output.exists() else 0
    process = lab.start(workdir)
    code = lab.kill(process, moment, number)
    said = output.read_text()[before:]
    lab.transcript += [f'{name}:', said.splitlines()[-1], f'exit code {code}']
    assert 'Traceback' not in said and f'next:   {lab.typed(workdir)}\n' in said, said
    saved = f'saved after step {lab.newest(workdir)}\n' in said
    if name in ('in a step', 'in a save', 'in a later step'):
      assert saved, (name, said)
    assert code == (saves if saved else has_nothing_to_save), (name, said)
  lab.run(workdir)
  lab.assert_nothing_lost(workdir)
  return len(opt_state)


def programs(lab):
  """Returns command lines of every mode and program, none of which gets far."""
  (lab.root / 'arms.py').write_text('"""Arms."""\nARMS = {"a": ("--config=rope",)}\nSEEDS = (0,)\n')
  main = lab.command('nowhere')
  modes = ((), ('--mode=evaluate',), ('--mode=generate', '--prompt=x'), ('--dry_run',))
  others = (('show', 'rope'), ('bench', 'step', '--encodings=rope'), ('sweep', 'arms.py'))
  return [
    *([*main, *mode] for mode in modes),
    *([sys.executable, '-m', f'posjax.{name}', *arguments] for name, *arguments in others),
  ]


@fault('Ctrl-C while jax is imported, in every mode and every program')
def importing(lab):
  commands = programs(lab)[:-1]  # a sweep does not import it
  for command in commands:
    process = subprocess.Popen(
      command, cwd=lab.root, env=lab.environment, stderr=subprocess.PIPE, text=True
    )
    maps = pathlib.Path(f'/proc/{process.pid}/maps')
    code = lab.kill(process, lambda maps=maps: 'jaxlib' in maps.read_text(), signal.SIGINT)
    said = process.stderr.read().splitlines()
    lab.transcript += [shlex.join(command[2:4]), said[-1], f'exit code {code}']
    assert code == 130
    assert said == ['', f'next:   {shlex.join(command)}', 'posjax: Ctrl-C: stopped']
  return len(commands)


@fault('a device that is not there, in every mode and every program')
def device(lab):
  if os.path.exists('/dev/nvidiactl'):
    return 0
  environment = lab.environment | {'JAX_PLATFORMS': 'cuda'}
  before = {*lab.root.iterdir()}
  commands = programs(lab)
  for command in commands:
    done = subprocess.run(
      command, cwd=lab.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr == (
      'posjax: JAX_PLATFORMS=cuda: there is no such device here; pip install -e \'.[cuda]\', or '
      'unset JAX_PLATFORMS\n'
    )
  assert {*lab.root.iterdir()} == before | {lab.root / 'arms.py'}
  return len(commands)


@fault('SIGTERM to a sweep, not to its run')
def sweeping(lab):
  arm = ('--config=rope', *(f'--config.{setting}' for setting in lab.settings()))
  (lab.root / 'far.py').write_text(f'"""Far."""\nARMS = {{"rope": {arm!r}}}\nSEEDS = (0,)\n')
  command = [sys.executable, '-m', 'posjax.sweep', 'far.py', '--workdir=swept']
  settings = dict(cwd=lab.root, env=lab.environment, stderr=subprocess.PIPE, text=True)
  process = subprocess.Popen(command, **settings)
  assert lab.kill(process, lambda: lab.newest('swept/rope-0') >= 100, signal.SIGTERM) == 42
  lab.transcript += [process.stderr.read().splitlines()[-1], 'exit code 42']
  saved = lab.newest('swept/rope-0')
  said = (lab.root / 'swept/rope-0/output.txt').read_text()
  assert f'SIGTERM: saved after step {saved}' in said
  subprocess.run(command, check=True, **settings)
  lab.assert_nothing_lost('swept/rope-0')
  return 1


def damaged(name, newest_first):
  """Registers a fault: `injure` gets the folder of checkpoints of a completed run.

  `newest_first` lists the checkpoints that are skipped and whose files are kept.
  """

  def register(injure):
    def inject(lab):
      workdir = injure.__name__
      folder = lab.copy('whole', workdir)
      injure(folder / 'checkpoints')
      before = {step: contents(folder / 'checkpoints' / step) for step in newest_first}
      lines = lab.run(workdir, goes_on_from=350 if '400' in newest_first else 400).splitlines()
      skipped = [line.split()[2] for line in lines if line.startswith('skipping')]
      assert skipped == [f'{step}:' for step in newest_first]
      for step, files in before.items():
        assert contents(folder / 'quarantine' / step) == files
      lab.assert_nothing_lost(workdir)
      return 1

    return fault(name)(inject)

  return register


def contents(folder):
  files = (path for path in folder.rglob('*') if path.is_file())
  return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def largest(folder):
  """Returns the file of a checkpoint that holds its weights."""
  return max(folder.glob('state/**/d/*'), key=lambda path: path.stat().st_size)


@damaged('a flipped byte in the weights', ['400'])
def flipped(folder):
  content = bytearray(largest(folder / '400').read_bytes())
  content[len(content) // 2] ^= 1
  largest(folder / '400').write_bytes(content)


@damaged('a truncated file of weights', ['400'])
def truncated(folder):
  os.truncate(largest(folder / '400'), 1000)


@damaged('a missing file of weights', ['400'])
def missing(folder):
  largest(folder / '400').unlink()


@damaged('a flipped byte in the record', ['400'])
def flipped_record(folder):
  path = folder / '400/record/metadata'
  path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


@damaged('another place in the data', ['400'])
def another_place(folder):
  path = folder / '400/record/metadata'
  path.write_text(path.read_text().replace('"next_row": ', '"next_row": 1'))


@damaged('an empty directory with a number', ['999'])
def empty(folder):
  (folder / '999').mkdir()


@damaged('a foreign directory with a number', ['999', '400'])
def foreign(folder):
  shutil.rmtree(folder / '400')
  for name in ('400', '999', 'notes'):
    (folder / name).mkdir()
    (folder / name / 'mine.txt').write_text('mine')


@fault('every checkpoint is corrupt')
def none_whole(lab):
  folder = lab.copy('whole', 'none_whole')
  for step in lab.steps('none_whole'):
    largest(folder / f'checkpoints/{step}').unlink()
  return refused(lab, 'none_whole', 'every checkpoint is corrupt')


@fault('the checkpoints were deleted, the results were not')
def none_there(lab):
  folder = lab.copy('whole', 'none_there')
  shutil.rmtree(folder / 'checkpoints')
  refused(lab, 'none_there', 'all checkpoints of this run are missing')
  (folder / 'evaluation.json').unlink()
  return 1 + refused(lab, 'none_there', 'all checkpoints of this run are missing')


@fault('another config')
def another_config(lab):
  lab.copy('whole', 'another_config')
  said = 'trained with another config: seed 0 -> 1, model.hidden 64 -> 96'
  return refused(lab, 'another_config', said, 'seed=1', 'model.hidden=96')


@fault('another text in the same file')
def another_text(lab):
  lab.copy('whole', 'another_text')
  text = lab.corpus.read_text()
  lab.corpus.write_text(text.replace('line 7 ', 'line 8 '))
  try:
    return refused(lab, 'another_text', 'cannot resume with other data: sha256 ')
  finally:
    lab.corpus.write_text(text)


def refused(lab, workdir, words, *overrides, **settings):
  """Runs in `workdir`, expecting exit code 2, one line with `words`, and no changed file."""
  before = contents(lab.root / workdir)
  said = lab.run(workdir, *overrides, code=2, **settings)
  assert words in said.splitlines()[-1], said
  assert contents(lab.root / workdir) | {'lock': b''} == before | {'lock': b''}
  return 1


@fault('other devices: 8 to 1, 1 to 4, (4,2) to (2,4)')
def other_devices(lab):
  pairs = (((8, 1, 1), (1, 1, 1)), ((1, 1, 1), (4, 1, 1)), ((4, 2, 1), (2, 4, 1)))
  plan = ('train.steps=60', 'checkpoint.every=20')
  lab.whole('one_device', *plan)
  for old, new in pairs:
    workdir = f'mesh{"".join(map(str, old))}'
    process = lab.start(workdir, *plan, *mesh_of(old), env=devices(lab, old))
    lab.kill(process, lambda folder=workdir: lab.newest(folder) >= 20)
    lab.run(workdir, *plan, *mesh_of(new), env=devices(lab, new))
    for mine, one in zip(lab.losses(workdir), lab.losses('one_device'), strict=True):
      assert abs(mine - one) < 1e-3, (mine, one)
  return len(pairs)


def mesh_of(sizes):
  return [f'mesh.{a}={n}' for a, n in zip(('data', 'fsdp', 'tensor'), sizes, strict=True)]


def devices(lab, sizes):
  count = sizes[0] * sizes[1] * sizes[2]
  return lab.environment | {'XLA_FLAGS': f'--xla_force_host_platform_device_count={count}'}


@fault('a second run in the same work directory')
def second(lab):
  process = lab.start('second', *LONG)
  while not lab.newest('second'):
    assert process.poll() is None
    time.sleep(0.01)
  said = lab.run('second', *LONG, code=2)
  assert f'process {process.pid} on ' in said.splitlines()[-1]
  assert process.wait() == 0
  lab.assert_nothing_lost('second', lab.whole('whole_long', *LONG))
  return 1


EXPLODING = ('optimizer.learning_rate=1e30', 'optimizer.clip=1e30', 'checkpoint.every=2')


@fault('divergence: exit code 3')
def diverging(lab):
  for skipped in (0, 4):
    said = lab.run('diverging', *EXPLODING, f'train.max_skipped={skipped}', code=3)
    assert f'step {3 + skipped}: the loss or its gradient is NaN or infinite; the last ' in said
    assert f'good checkpoint is step {2 + skipped} in' in said
  return 2


@fault('a file that grows too large (RLIMIT_FSIZE)')
def too_large(lab):
  limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
  uncached = {k: v for k, v in lab.environment.items() if not k.startswith('JAX_')}
  said = lab.run('too_large', code=2, preexec_fn=limit, env=uncached)
  assert '50 cannot be written: File too large; the newest saved checkpoint is none' in said
  lab.run('too_large')
  lab.assert_nothing_lost('too_large')
  return 1


@fault('a full disk, then one that is read-only (tmpfs)')
def full(lab):
  disk = lab.root / 'disk'
  disk.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=1000k', 'tmpfs', disk]
  if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
    return 0  # only root may mount, and not in every container
  try:
    said = lab.run('disk/run', code=2)
    assert 'No space left on device' in said.splitlines()[-1], said
    subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
    said = lab.run('disk/run', code=2)
    assert 'Read-only file system' in said.splitlines()[-1], said
    subprocess.run(['mount', '-o', 'remount,rw,size=100m', disk], check=True)
    lab.run('disk/run')
    lab.assert_nothing_lost('disk/run')
  finally:
    subprocess.run(['umount', disk], check=True)
  return 2


@fault('a folder that is read-only: to evaluate, to generate, to train; and in the middle of a run')
def read_only(lab):
  folder = lab.copy('whole', 'read_only')
  paths = [folder, *folder.rglob('*')]
  for path in paths:
    path.chmod(path.stat().st_mode & ~0o222)
  state = lambda: [(path, path.stat().st_ctime_ns) for path in [folder, *folder.rglob('*')]]
  before, bound = state(), {'preexec_fn': without_privileges}
  lab.run('read_only', flags=('--mode=generate', '--prompt=line'), **bound)
  said = lab.run('read_only', flags=('--mode=evaluate',), **bound)
  assert f'posjax: warning: {folder} cannot be written: these results are not saved\n' in said
  said = lab.run('read_only', code=2, **bound)
  assert f'{folder}/lock: Permission denied; allow reading and writing' in said.splitlines()[-1]
  assert state() == before
  process = lab.start('turns_read_only', **bound)
  while not lab.newest('turns_read_only') >= 100:
    time.sleep(0.001)
  (lab.root / 'turns_read_only/checkpoints').chmod(0o555)
  assert process.wait() == 2
  said = (lab.root / 'turns_read_only.out').read_text().splitlines()[-1]
  lab.transcript.append(said)
  assert 'cannot be written: Permission denied; the newest saved checkpoint is ' in said
  (lab.root / 'turns_read_only/checkpoints').chmod(0o755)
  lab.run('turns_read_only', **bound)
  lab.assert_nothing_lost('turns_read_only')
  return 4


@fault('the work directory is moved away in the middle of a run, and put back')
def moved(lab):
  folder, away = lab.root / 'moved', lab.root / 'away'
  process = lab.start('moved')
  saving = lambda: any('tmp' in path.name for path in (folder / 'checkpoints').glob('*'))
  while not lab.newest('moved') >= 100 or saving():
    time.sleep(0.001)
  folder.rename(away)
  assert process.wait() == 2
  said = (lab.root / 'moved.out').read_text().splitlines()[-1]
  lab.transcript.append(said)
  assert 'cannot be written: No such file or directory; ' in said
  away.rename(folder)
  lab.run('moved')
  lab.assert_nothing_lost('moved')
  return 1


@fault('standard error is closed')
def closed(lab):
  lab.run('closed', preexec_fn=lambda: os.close(2))
  lab.assert_nothing_lost('closed')
  return 1


@fault('more memory than there is')
def memory(lab):
  said = lab.run('memory', 'train.batch=1048576', 'model.hidden=65536', code=2)
  assert said.splitlines()[-1].startswith('posjax: out of memory: a training step needs ')
  return 1


@fault('one host too few: the last never comes, or the first')
def absent(lab):
  lines = {
    2: 'host 2 has not come in ',
    0: 'host 0 does not answer at localhost:',
  }
  for missing, line in lines.items():
    workdir, port = f'absent{missing}', free_port()
    there = [host for host in range(3) if host != missing]
    processes = [lab.start_host(workdir, hosts=3, host=host, port=port) for host in there]
    outputs = [(workdir, host) for host in there]
    assert line in lab.refused(processes, outputs, code=42)
    assert not (lab.root / workdir).exists()
  return len(lines)


@fault('one host twice')
def twice(lab):
  outputs, port = [('twice', 0), ('twice', 1), ('once_more', 1)], free_port()
  processes = [
    lab.start_host(workdir, hosts=3, host=host, port=port) for workdir, host in outputs
  ]
  assert 'two processes have --host=1; ' in lab.refused(processes, outputs, code=2)
  assert not (lab.root / 'twice').exists()
  return 1


@fault('a host that comes twice while the run goes on')
def once_more(lab):
  port = free_port()
  processes = [lab.start_host('goes_on', hosts=2, host=host, port=port) for host in (0, 1)]
  while not lab.newest('goes_on'):
    assert not any(process.poll() for process in processes)
    time.sleep(0.01)
  late = lab.start_host('late', hosts=2, host=1, port=port)
  assert f'--coordinator=localhost:{port}: in use' in lab.refused([late], [('late', 1)], code=2)
  assert [process.wait() for process in processes] == [0, 0]
  return 1


@fault('a full disk on one host of two (RLIMIT_FSIZE)')
def full_on_one(lab):
  limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
  sharded = ('mesh.data=1', 'mesh.fsdp=2', 'train.steps=200')
  lab.run_all('whole_two', *sharded, hosts=2)
  for full in (0, 1):
    workdir, port = f'full_on_{full}', free_port()
    processes = [
      lab.start_host(
        workdir, *sharded, hosts=2, host=host, port=port, preexec_fn=limit if host == full else None
      ) for host in (0, 1)
    ]
    while 'step 100/' not in lab.output(workdir):  # it waits for the checkpoint of step 50
      assert not any(process.poll() for process in processes)
      time.sleep(0.01)
    line = lab.refused(processes, [(workdir, host) for host in (0, 1)], code=2)
    assert f'host {full}: ' in line and '50 cannot be written: File too large; ' in line
    lab.run_all(workdir, *sharded, hosts=2)
    lab.assert_nothing_lost(workdir, 'whole_two')
  return 2


def main(names):
  rows = []
  with tempfile.TemporaryDirectory() as root:
    lab = Hosts(root)
    for name in names or FAULTS:
      start, lab.transcript = time.perf_counter(), []
      tried = FAULTS[name](lab)
      rows.append((name, tried, f'{time.perf_counter() - start:.0f} s'))
      print('\n'.join([f'\n## {name}', *lab.transcript]), flush=True)
  width = max(len(name) for name, _, _ in rows)
  print(f'\n{"fault":<{width}}  tried  outcome')
  for name, tried, seconds in rows:
    outcome = 'nothing lost' if tried else 'not possible here'
    print(f'{name:<{width}}  {tried:>5}  {outcome}, {seconds}')


if __name__ == '__main__':
  main(sys.argv[1:])
