"""One owner of a work directory; memory and disks that give out are one line."""

import errno
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from posjax import interruption, lock, resources
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
  (OSError(errno.ENOSPC, 'No space left on device'), 'run: No space left on device; make room'),
  (OSError(errno.EROFS, 'Read-only file system', 'x/y'), 'x/y: Read-only file system; make room'),
  (MemoryError('Unable to allocate 9 GiB'), 'out of memory: Unable to allocate 9 GiB; lower'),
  (
    jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory\n allocating 9 bytes.'),
    'out of memory: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.; lower train.batch',
  ),
])
def test_what_gives_out_is_one_line(error, line):
  with pytest.raises(UserError) as raised, resources.explained('run'):
    raise error
  assert str(raised.value).startswith(line) and '\n' not in str(raised.value)


@pytest.mark.parametrize('error', [
  jax.errors.JaxRuntimeError('INTERNAL: a bug'), BrokenPipeError(), ValueError('a bug'),
])
def test_a_bug_is_not_explained_away(error):
  with pytest.raises(type(error)), resources.explained('run'):
    raise error


def test_more_memory_than_there_is(monkeypatch):
  compiled = jax.jit(lambda x: x @ x).lower(jnp.zeros((256, 256))).compile()
  assert resources.planned(compiled) >= 256 * 256 * 4
  resources.check_memory(compiled)
  monkeypatch.setattr(os, 'sysconf', lambda name: {'SC_PAGE_SIZE': 4096, 'SC_PHYS_PAGES': 10}[name])
  with pytest.raises(UserError, match='^out of memory: a training step needs .* GiB, and this'):
    resources.check_memory(compiled)


@pytest.mark.parametrize('number, said', [
  (signal.SIGTERM, 'SIGTERM: stopped'), (signal.SIGINT, 'Ctrl-C: stopped'),
])
def test_signals_are_answered_at_once_or_noted(number, said):
  before = signal.getsignal(number)
  with pytest.raises(Interrupted, match=f'^{said}$') as raised, interruption.at_once():
    with interruption.noted() as came:
      os.kill(os.getpid(), number)
      assert came == [number]
    os.kill(os.getpid(), number)
  assert raised.value.exit_code == {signal.SIGTERM: 42, signal.SIGINT: 0}[number]
  assert signal.getsignal(number) is before


def test_a_second_ctrl_c_does_not_wait():
  with pytest.raises(Interrupted), interruption.noted() as came:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
      os.kill(os.getpid(), number)
    assert len(came) == 3
    os.kill(os.getpid(), signal.SIGINT)
