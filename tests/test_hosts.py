"""Several hosts: they give the numbers of one; any mesh resumes from any other; none hangs."""

import json
import re
import shutil
import signal
import time

import pytest

from posjax.runtime import hosts as hosts_lib
from tests.support.several import Hosts, free_port, wait

SHORT = 'train.steps=40', 'checkpoint.every=20'
LONG = 'train.steps=4000', 'checkpoint.every=4000'


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
  return Hosts(tmp_path_factory.mktemp('hosts'))


def until(lab, workdir, text, host=0, seconds=200):
  """Waits until a host has printed `text`."""
  for _ in range(10 * seconds):
    if text in lab.output(workdir, host):
      return
    time.sleep(0.1)
  raise AssertionError(lab.output(workdir, host))


def losses(lab, workdir):
  lines = (lab.root / workdir / 'metrics.jsonl').read_text().splitlines()
  return {row['step']: row['loss'] for row in map(json.loads, lines)}


def records(lab, workdir):
  result = json.loads((lab.root / workdir / 'evaluation.json').read_text())
  return [record['value'] for record in result['records']]


@pytest.mark.slow
@pytest.mark.parametrize('hosts', [2, 4])
def test_hosts_give_the_numbers_of_one_process(lab, hosts):
  """Sums over devices may run in another order: gloo's is not that of one process."""
  lab.run_all(f'one{hosts}', *SHORT, devices=hosts)
  lab.run_all(f'many{hosts}', *SHORT, hosts=hosts)
  one, many = (losses(lab, f'{kind}{hosts}') for kind in ('one', 'many'))
  assert many == pytest.approx(one, rel=1e-6)
  one, many = (records(lab, f'{kind}{hosts}') for kind in ('one', 'many'))
  assert many == pytest.approx(one, rel=1e-6)
  assert 'step' not in lab.output(f'many{hosts}', 1)  # only the first host prints


MACHINES = {
  'two hosts': (dict(hosts=2), ()),
  'fsdp': (dict(devices=4), ('mesh.data=1', 'mesh.fsdp=4')),
  'seq': (dict(devices=4), ('mesh.data=2', 'mesh.seq=2')),
}


@pytest.mark.slow
def test_any_mesh_and_number_of_hosts_resumes_any_other(lab):
  lab.run_all('alone', *SHORT)
  for name, (machine, mesh) in MACHINES.items():
    lab.run_all(name, *SHORT, *mesh, **machine)
    assert losses(lab, name) == pytest.approx(losses(lab, 'alone'), abs=1e-6)
  readers = [*MACHINES][1:] + [*MACHINES][:1]
  for writer, reader in zip(MACHINES, readers, strict=True):
    machine, mesh = MACHINES[reader]
    resumed = f'{writer} to {reader}'
    shutil.copytree(lab.root / writer, lab.root / resumed)
    shutil.rmtree(lab.root / resumed / 'checkpoints' / '40')
    lab.run_all(resumed, *SHORT, *mesh, **machine)
    assert 'resuming after step 20' in lab.output(resumed)
    assert losses(lab, resumed) == pytest.approx(losses(lab, 'alone'), abs=1e-6)


@pytest.mark.slow
def test_a_signal_to_one_host_saves_the_same_step_on_all(lab):
  processes = lab.start_all('signal', *LONG, hosts=2)
  until(lab, 'signal', 'step 200/')
  processes[1].send_signal(signal.SIGTERM)
  assert wait(processes) == [42, 42]
  said = [lab.output('signal', host) for host in (0, 1)]
  saved = [re.search(r'SIGTERM: saved after step (\d+)', text)[1] for text in said]
  assert saved[0] == saved[1]
  assert (lab.root / 'signal' / 'checkpoints' / saved[0]).is_dir()


@pytest.mark.slow
def test_a_killed_host_ends_the_other_within_a_minute(lab):
  processes = lab.start_all('killed', *LONG, hosts=2)
  until(lab, 'killed', 'step 200/')
  processes[1].kill()
  began = time.monotonic()
  assert processes[0].wait(60) == 42
  assert time.monotonic() - began < 60
  *_, last = lab.output('killed').splitlines()
  assert last.startswith('posjax: another host has failed')


@pytest.mark.slow
def test_a_killed_first_host_ends_the_others_within_a_minute(lab):
  processes = lab.start_all('first', *LONG, hosts=2)
  until(lab, 'first', 'step 200/')
  processes[0].kill()
  assert processes[1].wait(60) != 0


@pytest.mark.slow
def test_an_error_on_one_host_reaches_all(lab):
  port = free_port()
  processes = [
    lab.start_host('unlike', *SHORT, f'seed={host}', hosts=2, host=host, port=port)
    for host in (0, 1)
  ]
  assert wait(processes) == [2, 2]
  said = {lab.output('unlike', host).splitlines()[-1] for host in (0, 1)}
  assert len(said) == 1 and 'host 1: seed is 1, but on host 0 it is 0' in said.pop()


@pytest.mark.slow
def test_a_second_run_in_the_folder_is_refused_on_all_hosts(lab):
  first = lab.start_all('twice', *LONG)
  until(lab, 'twice', 'step 200/')
  processes = lab.start_all('twice', *LONG, hosts=2)  # overwrites the output of the first
  assert wait(processes) == [2, 2]
  for host in (0, 1):
    assert re.search('host 0: .* is training here', lab.output('twice', host))
  first[0].kill()



def test_a_host_ends_when_the_cluster_starts_too_few(monkeypatch):
  said = []
  monkeypatch.setattr(hosts_lib, 'PATIENCE', 0.01)
  monkeypatch.setattr(hosts_lib, 'leave_alone', lambda *end: said.append(end))
  monkeypatch.setattr(hosts_lib.jax.distributed, 'initialize', lambda *_, **__: time.sleep(0.1))
  with pytest.raises(hosts_lib.UserError):
    hosts_lib.connect(2, '', None)
  ((code, line),) = said
  assert code == 42 and line.startswith('not all 2 hosts have come in 0.01 s; ')


def test_a_thread_with_an_error_does_not_wait_for_other_hosts(monkeypatch):
  waited = []
  monkeypatch.setattr(
    hosts_lib.multihost, 'get_barrier_sync_fn', lambda: lambda **settings: waited.append(settings)
  )
  barrier = hosts_lib.barrier()
  barrier(key='a', timeout_ms=1)
  with pytest.raises(OSError, match='full'):
    try:
      raise OSError('full')
    finally:
      barrier(key='b', timeout_ms=1)
  assert waited == [dict(key='a', timeout_ms=1)]
