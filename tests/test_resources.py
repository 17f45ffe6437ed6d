"""One owner of a work directory; memory and disks that give out are one line."""

import contextlib
import errno
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from posjax import interruption, lock, main, resources
from posjax.config import UserError
from posjax.interruption import Interrupted


def test_a_second_owner_is_refused_while_the_first_lives(tmp_path):
  with lock.held(tmp_path / 'a/run'):
    with pytest.raises(UserError, match=f'run: process {os.getpid()} on .* is training here; '):
      with lock.held(tmp_path / 'a/run'):
        raise AssertionError
    with lock.held(tmp_path / 'another'):
      pass
  with lock.held(tmp_path / 'a/run'):
    pass


def test_a_lock_dies_with_its_process(tmp_path):
  die = f"""
import os, signal
from posjax import lock
with lock.held({str(tmp_path)!r}):
  print('held', os.getpid(), flush=True)
  os.kill(os.getpid(), signal.SIGKILL)
"""
  done = subprocess.run([sys.executable, '-c', die], capture_output=True, text=True, check=False)
  word, number = done.stdout.split()
  assert (word, done.returncode) == ('held', -signal.SIGKILL)
  assert (tmp_path / 'lock').read_text().startswith(f'process {number} on ')
  with lock.held(tmp_path):
    assert (tmp_path / 'lock').read_text().startswith(f'process {os.getpid()} on ')


@pytest.mark.parametrize('error, line', [
  (MemoryError('Unable to allocate 9 GiB'), 'out of memory: Unable to allocate 9 GiB; raise'),
  (
    jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory\n allocating 9 bytes.'),
    'out of memory: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.; raise train.acc',
  ),
])
def test_what_gives_out_is_one_line(error, line):
  with pytest.raises(UserError) as raised, resources.explained():
    raise error
  assert str(raised.value).startswith(line) and '\n' not in str(raised.value)


@pytest.mark.parametrize('error', [
  jax.errors.JaxRuntimeError('INTERNAL: a bug'), OSError('a bug'), ValueError('a bug'),
])
def test_a_bug_is_not_explained_away(error):
  with pytest.raises(type(error)), resources.explained():
    raise error


def test_more_memory_than_there_is(monkeypatch):
  compiled = jax.jit(lambda x: x @ x).lower(jnp.zeros((256, 256))).compile()
  assert resources.planned(compiled) >= 256 * 256 * 4
  resources.check_memory(compiled)
  monkeypatch.setattr(os, 'sysconf', lambda name: {'SC_PAGE_SIZE': 4096, 'SC_PHYS_PAGES': 10}[name])
  with pytest.raises(UserError, match='^out of memory: a training step needs .* GiB, and this'):
    resources.check_memory(compiled)


@pytest.mark.parametrize('error, line', [
  (OSError(errno.ENOSPC, 'No space left on device'), 'posjax: No space left on device; make room'),
  (OSError(errno.EROFS, 'Read-only file system', 'x/y'), 'posjax: x/y: Read-only file system; '),
])
def test_what_a_disk_says_is_one_line(error, line, capsys):
  def program():
    raise error

  assert main.answer(program) == 2
  said = capsys.readouterr().err
  assert said.startswith(line) and said.count('\n') == 1


def test_a_bug_with_files_is_a_bug():
  def program():
    return open('/no/such/file')

  with pytest.raises(FileNotFoundError):
    main.answer(program)


def test_a_workdir_that_is_no_folder(tmp_path):
  (tmp_path / 'file').touch()
  for path, why in (('file', 'File exists'), ('file/run', 'Not a directory')):
    with pytest.raises(UserError, match=f'{path}: {why}; choose another'):
      with lock.held(tmp_path / path):
        raise AssertionError


@pytest.mark.parametrize('limit, there', [('max', 2**40), (str(2**30), 2**30), (None, 2**40)])
def test_memory_of_a_container(limit, there, monkeypatch, tmp_path):
  sizes = {'SC_PAGE_SIZE': 2**12, 'SC_PHYS_PAGES': 2**28}
  monkeypatch.setattr(os, 'sysconf', sizes.get)
  monkeypatch.setattr(resources, 'OF_A_CONTAINER', tmp_path / 'memory.max')
  if limit:
    (tmp_path / 'memory.max').write_text(f'{limit}\n')
  assert resources.host_memory() == there


@pytest.mark.parametrize('number, said, code', [
  (signal.SIGTERM, 'SIGTERM: stopped', 42), (signal.SIGINT, 'Ctrl-C: stopped', 130),
])
def test_signals_are_answered_at_once(number, said, code):
  before = signal.getsignal(number)
  with pytest.raises(Interrupted, match=f'^{said}$') as raised, interruption.at_once():
    os.kill(os.getpid(), number)
  assert raised.value.exit_code == code
  assert signal.getsignal(number) is before


def test_a_signal_that_is_lost_is_seen_by_the_next_that_looks():
  """As Python loses what is raised while it collects garbage."""
  with interruption.at_once():
    with contextlib.suppress(Interrupted):
      os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # it does not disturb who is answering the first
    with interruption.noted() as came:
      assert came == [signal.SIGTERM] * 2
  with interruption.noted() as came:
    assert came == []


def test_a_signal_surfaces_from_what_it_broke():
  """As from a thread's lock, which fails to release what the signal kept it from taking back."""
  with pytest.raises(Interrupted), interruption.at_once(), interruption.unmasked():
    try:
      try:
        os.kill(os.getpid(), signal.SIGTERM)
      finally:
        raise RuntimeError('release unlocked lock')
    except RuntimeError as error:
      raise ValueError('and what was made of that') from error
  with pytest.raises(KeyError, match='another'), interruption.unmasked():
    try:
      raise ValueError
    finally:
      raise KeyError('another')


def test_exit_codes():
  assert Interrupted(signal.SIGINT, saved=3).exit_code == 0
  assert Interrupted(signal.SIGTERM, saved=3).exit_code == 42


def test_a_second_ctrl_c_does_not_wait():
  with pytest.raises(Interrupted), interruption.at_once(), interruption.noted() as came:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
      os.kill(os.getpid(), number)
    assert len(came) == 3
    os.kill(os.getpid(), signal.SIGINT)
