"""A program from its start: signals, missing packages, closed streams, disk errors."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from posjax import main, metrics, run_summary, writers
from posjax.bench import __main__ as bench
from posjax.checkpoint import Checkpoints
from posjax.config import ROOT
from posjax.errors import UserError, one_of
from posjax.runtime import lock, program, signals
from posjax.runtime.signals import Interrupted
from posjax.show import __main__ as show
from posjax.sweep import __main__ as sweep

# The first third-party package that a program imports.
FIRST = {
  'posjax.main': 'absl', 'posjax.sweep': 'tqdm', 'posjax.show': 'tqdm', 'posjax.bench': 'tqdm',
}
SIGNALLED = {
  'at once': 'os.kill(os.getpid(), {number})',
  'while garbage is collected': 'type("Garbage", (), {{"__del__": lambda self: {kill}}})()',
}


def start(name, folder, code, *arguments, package=None, **settings):
  """Runs a program in which a module with this code replaces one of its packages."""
  (folder / f'{package or FIRST[name]}.py').write_text(f'import os\n{code}\n')
  paths = os.pathsep.join([str(folder), str(ROOT)])
  return subprocess.run(
    [sys.executable, '-m', name, *arguments], cwd=folder, capture_output=True, text=True,
    env=os.environ | {'PYTHONPATH': paths}, check=False, **settings,
  )


@pytest.mark.parametrize('name, when, number, code', [
  ('posjax.main', 'while garbage is collected', signal.SIGINT, 130),
  ('posjax.main', 'at once', signal.SIGTERM, 42),
  *((name, 'at once', signal.SIGINT, 130) for name in FIRST),
])
def test_a_signal_in_the_first_moments(name, when, number, code, tmp_path):
  kill = SIGNALLED['at once'].format(number=int(number))
  done = start(name, tmp_path, SIGNALLED[when].format(number=int(number), kill=kill), '--seed=a b')
  said = 'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'
  typed = f"next:   {sys.executable} -m {name} '--seed=a b'"
  assert (done.returncode, done.stdout) == (code, '')
  assert done.stderr == f'\n{typed}\nposjax: {said}: stopped\n'


@pytest.mark.parametrize('name, package, arguments', [
  *((name, package, ()) for name, package in FIRST.items()),
  ('posjax.main', 'jax', ('--config=rope', '--mode=evaluate')),
  ('posjax.main', 'jax', ('--config=rope',)),
  ('posjax.show', 'jax', ('rope',)),
])
def test_a_package_that_is_missing_is_one_line(name, package, arguments, tmp_path):
  lacks = f'raise ModuleNotFoundError("No module named {package!r}", name={package!r})'
  done = start(name, tmp_path, lacks, *arguments, package=package)
  assert (done.returncode, done.stdout) == (2, '')
  assert done.stderr == (
    f'posjax: {package} is not installed; in the folder of setup.py, run: {sys.executable} -m pip '
    'install -e .\n'
  )


def test_a_bug_has_a_traceback(tmp_path):
  done = start('posjax.main', tmp_path, '1 / 0')
  assert done.returncode == 1 and done.stderr.endswith('ZeroDivisionError: division by zero\n')
  assert program.explain(ModuleNotFoundError(name='posjax.nothing')) is None


def test_a_new_file_does_not_reuse_a_closed_standard_stream(tmp_path):
  code = '''
import sys
from posjax.runtime import program
program.begin()
with open(sys.argv[1], 'w') as file:
  print(file.fileno(), file=file)
print('out')
print('err', file=sys.stderr)
'''
  closed = ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh', sys.executable, '-c', code]
  subprocess.run([*closed, tmp_path / 'file'], cwd=ROOT, check=True)
  assert int((tmp_path / 'file').read_text()) > 2


def failing(error):
  def run():
    raise error

  return run


@pytest.mark.parametrize('error, code, line', [
  (OSError(errno.ENOSPC, 'No space left on device'), 2, 'No space left on device; free disk '),
  (OSError(errno.EROFS, 'Read-only', 'x/y'), 2, 'x/y: Read-only; allow reading and writing, and'),
  (OSError(errno.EISDIR, 'Is a directory', 'x.tmp', None, 'x'), 2, 'x: Is a directory; move it aw'),
  (OSError(errno.ENAMETOOLONG, 'File name too long', 'x'), 2, 'x: File name too long; choose'),
  (UserError('no data'), 2, 'no data\n'),
  (metrics.Diverged('step 7: nan'), 3, 'step 7: nan\n'),
])
def test_errors_for_the_user_are_one_line(error, code, line, capsys):
  assert program.run_program(failing(error)) == code
  said = capsys.readouterr().err
  assert said.startswith(f'posjax: {line}') and said.count('\n') == 1


def test_a_terminal_wraps_a_long_list_between_words(capsys, monkeypatch):
  names = [f'encoding_{number}' for number in range(55)]
  message = f'--config=alibbi: {one_of("encoding_1O", names)}'
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
  monkeypatch.setenv('COLUMNS', '80')
  assert program.fail(2, message) == 2
  first, *rest = lines = capsys.readouterr().err.splitlines()
  assert first == 'posjax: --config=alibbi: did you mean encoding_1? It must be one of encoding_0,'
  assert ' '.join([first, *(line.removeprefix('  ') for line in rest)]) == f'posjax: {message}'
  assert max(map(len, lines)) <= 80 and len(lines) == 10


@pytest.mark.parametrize('error', [FileNotFoundError(errno.ENOENT, 'No such file'), OSError('bug')])
def test_a_bug_with_files_is_a_bug(error):
  with pytest.raises(type(error)):
    program.run_program(failing(error))


def log(workdir):
  settings = dict(start=0, steps=1, tokens_per_step=1)
  metrics.Log(workdir, metrics.Clock(), **settings).close()


def board(workdir):
  writers.TensorBoard(None, workdir, 0).close()


def hold(workdir):
  with lock.held(workdir):
    pass


def save(workdir):
  contents = {
    'name': 'rope', 'step': 3, 'corpus': 'text', 'unit': 'byte', 'shown': ['bits/byte'],
    'tests': {'sliding': 'a'}, 'by_position': {'sliding': {'bits/byte': [2.0] * 8}},
    'records': [
      {'test': 'sliding', 'metric': 'bits/byte', 'length': 8, 'value': 2.0, 'floor': None},
    ],
  }
  run_summary.save(contents, workdir)


@pytest.mark.parametrize('name, function', [
  ('lock', hold), ('metrics.jsonl', log), ('speed.jsonl', log), ('tensorboard', board),
  ('evaluation.json', save), ('by_length.png', save),
  ('checkpoints', lambda path: Checkpoints(path, 2, create=True)),
])
def test_errors_for_a_folder_instead_of_a_file_are_one_line(name, function, tmp_path, capsys):
  """A folder instead of a file, or a file instead of a folder; no partial file is left."""
  place = tmp_path / name
  place.touch() if name in ('tensorboard', 'checkpoints') else place.mkdir()
  assert program.run_program(lambda: function(tmp_path)) == 2
  said = capsys.readouterr().err
  assert said.startswith(f'posjax: {place}: ') and said.count('\n') == 1
  assert said.endswith('; move it away, and run it again\n')
  assert not [*tmp_path.glob('*.tmp')]


@pytest.mark.parametrize('main, arguments', [
  (main.main, ['posjax', '--config=rope', '--workdir=s3://b/run']),
  (sweep.main, ['far.py', '--workdir=gs://b/run']),
  (show.main, ['rope', '--out=gs://b/run']),
  (bench.main, ['--out=gs://b/run']),
])
def test_an_error_for_a_bucket_url_is_one_line(main, arguments, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert main(arguments) == 2
  flag = arguments[-1]
  assert capsys.readouterr().err == (
    f'posjax: {flag}: must be a local folder; mount it, or choose another\n'
  )
  assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize('platforms, said', [
  ('cpu', ''), ('', ''), ('nothing', 'JAX_PLATFORMS=nothing: there is no such device here (')
])
def test_devices_are_checked_for_later_processes(platforms, said, monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', platforms)
  if not said:
    return program.check_devices()
  with pytest.raises(UserError) as raised:
    program.check_devices()
  assert str(raised.value).startswith(said)


@pytest.mark.parametrize('number, said, code', [
  (signal.SIGTERM, 'SIGTERM: stopped', 42), (signal.SIGINT, 'Ctrl-C: stopped', 130),
])
def test_a_signal_is_deferred_and_raised_at_the_end(number, said, code):
  before, told, after = signal.getsignal(number), [], []
  with pytest.raises(Interrupted, match=f'^{said}$') as raised:
    with signals.defer_signals(then=lambda: told.append(number)) as came:
      os.kill(os.getpid(), number)
      after.append(came[:])
  assert after == [[number]] and told == [number]
  assert raised.value.exit_code == code
  assert signal.getsignal(number) is before


def test_a_handled_signal_is_not_raised_again():
  with pytest.raises(Interrupted, match='^Ctrl-C: saved after step 3$'):
    with signals.defer_signals() as came:
      os.kill(os.getpid(), signal.SIGINT)
      raise Interrupted(came[0], saved=3)
  with signals.defer_signals() as came:
    pass
  assert came == []


def test_exit_codes():
  assert Interrupted(signal.SIGINT, saved=3).exit_code == 0
  assert Interrupted(signal.SIGTERM, saved=3).exit_code == 42


def test_a_second_ctrl_c_does_not_wait():
  """A second Ctrl-C calls the previous handler; a second SIGTERM waits."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    with pytest.raises(KeyboardInterrupt), signals.defer_signals() as came:
      for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        os.kill(os.getpid(), number)
      assert len(came) == 3
      os.kill(os.getpid(), signal.SIGINT)
  finally:
    signal.signal(signal.SIGINT, before)


def test_the_first_signal_counts():
  with pytest.raises(Interrupted, match='^SIGTERM: stopped$'), signals.defer_signals():
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
