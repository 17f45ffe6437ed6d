"""One owner per work directory; one-line errors for exhausted memory and missing devices."""

import os
import signal
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import pytest

from posjax.errors import UserError
from posjax.runtime import lock, memory


def test_a_second_owner_is_refused_while_the_first_is_alive(tmp_path):
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
from posjax.runtime import lock
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
def test_out_of_memory_is_one_line(error, line):
  with pytest.raises(UserError) as raised, memory.memory_as_user_error():
    raise error
  assert str(raised.value).startswith(line) and '\n' not in str(raised.value)


@pytest.mark.parametrize('error', [
  jax.errors.JaxRuntimeError('INTERNAL: a bug'), OSError('a bug'), ValueError('a bug'),
])
def test_other_errors_are_not_reported_as_out_of_memory(error):
  with pytest.raises(type(error)), memory.memory_as_user_error():
    raise error


def test_a_step_larger_than_memory_is_refused(monkeypatch):
  compiled = jax.jit(lambda x: x @ x).lower(jnp.zeros((256, 256))).compile()
  assert memory.planned(compiled) >= 256 * 256 * 4
  memory.check_memory(compiled)
  monkeypatch.setattr(os, 'sysconf', lambda name: {'SC_PAGE_SIZE': 4096, 'SC_PHYS_PAGES': 10}[name])
  with pytest.raises(UserError, match='^out of memory: a training step needs .* GiB, and this'):
    memory.check_memory(compiled)


def test_a_workdir_that_is_no_folder(tmp_path):
  (tmp_path / 'file').touch()
  for path, why in (('file', 'File exists'), ('file/run', 'Not a directory')):
    with pytest.raises(UserError, match=f'{path}: {why}; choose another'):
      with lock.held(tmp_path / path):
        raise AssertionError


@pytest.mark.parametrize('limit, there', [
  ('max', 2**40), (str(2**30), 2**30), (str(2**50), 2**40), (None, 2**40),
])
def test_memory_of_a_container(limit, there, monkeypatch, tmp_path):
  sizes = {'SC_PAGE_SIZE': 2**12, 'SC_PHYS_PAGES': 2**28}
  monkeypatch.setattr(os, 'sysconf', sizes.get)
  monkeypatch.setattr(memory, 'CGROUP_LIMIT', tmp_path / 'memory.max')
  if limit:
    (tmp_path / 'memory.max').write_text(f'{limit}\n')
  assert memory.host_memory() == there


@pytest.mark.parametrize('platforms, error, said', [
  ('cuda', AssertionError(), "cuda: there is no such device here; pip install -e '.[cuda]', or "),
  ('gpu', RuntimeError('no\nrocm'), "gpu: there is no such device here (no rocm); pip install -e"),
  ('tpu,cpu', RuntimeError('no lib'), "here (no lib); pip install -e '.[tpu]', or unset JAX_PLATF"),
  ('cpuu', RuntimeError('unknown'), 'cpuu: there is no such device here (unknown); unset JAX_PLA'),
])
def test_a_missing_device_is_one_line(platforms, error, said, monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', platforms)
  monkeypatch.setattr(jax, 'devices', mock.Mock(side_effect=error))
  with pytest.raises(UserError) as raised, memory.memory_as_user_error():
    raise AssertionError('it began')
  assert said in str(raised.value) and '\n' not in str(raised.value)


def test_memory_of_a_device(monkeypatch):
  """The eight CPU devices of the tests share the host's memory; other devices report a limit."""
  assert memory.device_memory() == memory.host_memory() // 8
  gpus = [mock.Mock(**{'memory_stats.return_value': {'bytes_limit': n}}) for n in (7, 5)]
  monkeypatch.setattr(jax, 'local_devices', lambda: gpus)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert memory.device_memory() == 5
