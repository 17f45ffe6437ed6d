"""Several hosts: the same program on each; together they form one run.

Every host creates the same global batches and places its own shards of them, so that the order of
the data does not depend on the number of hosts. The first host writes metrics, figures and reports
and holds the lock; all hosts take part in training, evaluation and checkpoints. No other module
asks which host is the first.

Until programs are compiled, hosts talk through the key-value store of JAX's coordination service:
an error on one host then reaches all of them, and every host exits with the same line and code.
Later, a host that fails alone leaves its line there, where the others look once a second.
"""

import contextlib
import itertools
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from orbax.checkpoint import multihost

from posjax.errors import UserError, one_line
from posjax.runtime import program, roll_call

HEARTBEAT = 30  # seconds of silence after which a host counts as dead
PATIENCE = 300  # seconds to wait for a host that a cluster starts later, or that is slower
PARTING = 30  # seconds to wait for hosts that may be done, or have the same error
FAILED = 'posjax/failed'  # keys under it: a host that has failed; values: exit code and line

_talks = itertools.count()


def count() -> int:
  """Returns the number of hosts."""
  return jax.process_count() if jax.distributed.is_initialized() else 1


def first() -> bool:
  """Returns whether this is the first host, which writes for all of them."""
  return count() == 1 or jax.process_index() == 0


@contextlib.contextmanager
def joined(hosts: int, coordinator: str, host: int | None) -> Iterator[None]:
  """Joins the other hosts for the block, before JAX looks for devices.

  If another host fails in the block, this process ends with that host's exit code and line. If that
  host is gone without a line, it ends with exit code 42: repeat the command.

  Args:
    hosts: the number of hosts.
    coordinator: address and port of the first host; '': the cluster's environment (Cloud TPU, GKE,
      SLURM) has it.
    host: the number of this host; None: the cluster's environment has it.

  Raises:
    UserError: the number of hosts is not that of the cluster, or two hosts have the same number.
    roll_call.Absent: a host has not come.
  """
  if coordinator:
    roll_call.call(hosts, coordinator, host)
  connect(hosts, coordinator, host)
  if not first():
    sys.stdout = open(os.devnull, 'w')
  try:
    with heeding():
      yield
  except jax.errors.JaxRuntimeError as error:
    why = one_line(error)[:200]
    leave_alone(42, f'another host has failed ({why}); run the same command again')
  except BaseException as error:
    alone(error)
    raise
  if gathered():
    failed = failures()
    jax.distributed.shutdown()
    if failed:
      leave_alone(*failed[0])


def connect(hosts: int, coordinator: str, host: int | None) -> None:
  """Connects JAX's processes; raises UserError."""
  late = f'not all {hosts} hosts have come in {PATIENCE} s; run the same command on all of them'
  alarm = threading.Timer(PATIENCE, leave_alone, (42, late))  # JAX would abort
  alarm.daemon = True
  alarm.start()
  try:
    jax.distributed.initialize(
      coordinator or None, hosts if coordinator else None, host,
      initialization_timeout=2 * PATIENCE, heartbeat_timeout_seconds=HEARTBEAT,
      shutdown_timeout_seconds=HEARTBEAT,
    )
  except (RuntimeError, ValueError) as error:
    how = 'without a cluster, each host needs --coordinator and --host'
    raise UserError(f'--hosts={hosts}: cannot join: {one_line(error)} ({how})') from error
  finally:
    alarm.cancel()
  if count() != hosts:
    raise UserError(f'--hosts={hosts}: {count()} processes have started; set --hosts={count()}')


@contextlib.contextmanager
def heeding() -> Iterator[None]:
  """In the block, ends this process if another host has failed and this one does not."""
  leaving = threading.Event()

  def heed():
    while not leaving.wait(1):
      try:
        if (failed := failures()) and not leaving.wait(PARTING):
          part(*failed[0])
      except jax.errors.JaxRuntimeError:
        return  # the main thread gets an error too

  thread = threading.Thread(target=heed, daemon=True)
  thread.start()
  try:
    yield
  finally:
    leaving.set()
    thread.join()


def failures() -> list[tuple[int, str]]:
  """Returns (exit code, line) of each host that has failed."""
  return [tuple(json.loads(said)) for _, said in client().key_value_dir_get(FAILED)]


def alone(error: BaseException) -> None:
  """Tells the others of an error; returns if all hosts leave, otherwise ends the process."""
  known = program.explain(error)
  code, message = known or (1, f'{type(error).__name__}: {one_line(error)[:200]}')
  line = f'host {jax.process_index()}: {message}'
  with contextlib.suppress(jax.errors.JaxRuntimeError):  # host 0 is gone
    client().key_value_set(f'{FAILED}/{jax.process_index()}', json.dumps([code, line]))
  if gathered():
    jax.distributed.shutdown()
    return
  if not known:
    traceback.print_exc()
  part(code, line)


def part(code: int, line: str) -> NoReturn:
  """Ends this process when all hosts know that one has failed."""
  with contextlib.suppress(jax.errors.JaxRuntimeError):  # some are gone
    client().wait_at_barrier('posjax: part', PARTING * 1000)
  if first():
    time.sleep(1)  # without the coordination service, the others would abort
  leave_alone(code, line)


def gathered() -> bool:
  """Waits until all hosts leave the block of `joined`; returns whether they came.

  The first host must not leave early: the coordination service would end with it.
  """
  try:
    client().wait_at_barrier('posjax: leave', PARTING * 1000)
  except jax.errors.JaxRuntimeError:
    return False
  return True


def barrier() -> Callable[..., None] | None:
  """Returns the barrier for threads of Orbax, which a thread with an error does not wait at.

  Otherwise a host whose disk is full would wait there for the others, which wait at another one.
  """
  wait = multihost.get_barrier_sync_fn()

  def wait_unless_failed(*, key, timeout_ms):
    if error := sys.exception():
      raise error
    wait(key=key, timeout_ms=timeout_ms)

  return wait and wait_unless_failed


def client() -> Any:
  """Returns the client of JAX's coordination service."""
  return multihost.get_jax_distributed_client()


def leave_alone(code: int, message: str) -> NoReturn:
  """Ends this process immediately: a normal exit would wait for the other hosts."""
  program.fail(code, message)
  sys.stdout.flush()
  os._exit(code)


def agree(function: Callable[[], Any]) -> list[Any]:
  """Calls `function` on every host; returns all results, JSON values, in the order of the hosts.

  Raises:
    UserError: the function failed on a host in a way that a user can fix; every host raises it.
  """
  if count() == 1:
    return [function()]
  try:
    mine = {'result': function()}
  except Exception as error:
    if not (known := program.explain(error)):
      raise
    mine = {'error': known[1]}
  talk = f'posjax/{next(_talks)}'
  client().key_value_set(f'{talk}/{jax.process_index()}', json.dumps(mine))
  said = [
    json.loads(client().blocking_key_value_get(f'{talk}/{host}', PATIENCE * 1000))
    for host in range(count())
  ]
  for host, each in enumerate(said):
    if 'error' in each:
      raise UserError(f'host {host}: {each["error"]}')
  return [each['result'] for each in said]


def together(function: Callable[[], Any]) -> Any:
  """Calls `function` on every host and returns this host's result; if one fails, all raise it."""
  results = []
  agree(lambda: results.append(function()))
  return results[0]


def on_first(function: Callable[[], Any]) -> Any:
  """Calls `function` on the first host and returns its result, there; if it fails, all raise it."""
  return together(lambda: function() if first() else None)


def check_equal(values: dict[str, Any]) -> None:
  """Raises UserError if a JSON value in the dict `values` differs between hosts."""
  one, *others = agree(lambda: json.loads(json.dumps(values)))
  for host, other in enumerate(others, 1):
    for name, value in other.items():
      if value != one[name]:
        raise UserError(f'host {host}: {name} is {value}, but on host 0 it is {one[name]}')


def exchange(mesh: jax.sharding.Mesh) -> Callable[..., int]:
  """Returns told(number, wait): the largest number that any host was given, one call later.

  All hosts call it in every step. Because the answer is that of the last call, which ran before the
  step in progress, the devices never wait; with `wait` it is that of this call.
  """
  if count() == 1:
    return lambda number, wait=False: number
  everywhere = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
  largest = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, PartitionSpec()))
  pending = [np.int32(0)]

  def told(number, wait=False):
    own = lambda index: np.full(1, number, np.int32)
    pending.append(largest(jax.make_array_from_callback((mesh.size,), everywhere, own)))
    before = pending.pop(0)
    return int(pending[0]) if wait else int(before)

  return told
