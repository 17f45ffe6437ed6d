"""Several hosts: the same program on each; together they form one run.

Every host creates the same global batches and places its own shards of them, so that the order of
the data does not depend on the number of hosts. The first host writes metrics, figures and reports
and holds the lock; all hosts take part in training, evaluation and checkpoints. No other module
asks which host is the first.

Until programs are compiled, hosts talk through the key-value store of JAX's coordination service:
an error on one host then reaches all of them, and every host exits with the same line and code.
"""

import contextlib
import itertools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from orbax.checkpoint import multihost

from posjax.errors import UserError, one_line
from posjax.runtime import program

HEARTBEAT = 30  # seconds of silence after which a host counts as dead
PATIENCE = 300  # seconds to wait for a host that has started later or works more slowly

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

  If another host fails in the block, this process ends with exit code 42: repeat the command.

  Args:
    hosts: the number of hosts.
    coordinator: address and port of the first host; '': the cluster's environment (Cloud TPU, GKE,
      SLURM) has it.
    host: the number of this host; None: the cluster's environment has it.

  Raises:
    UserError: the number of hosts is not that of the cluster.
  """
  try:
    jax.distributed.initialize(
      coordinator or None, hosts if coordinator else None, host, initialization_timeout=PATIENCE,
      heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=HEARTBEAT,
    )
  except (RuntimeError, ValueError) as error:
    how = 'without a cluster, each host needs --coordinator and --host'
    raise UserError(f'--hosts={hosts}: cannot join: {one_line(error)} ({how})') from error
  if count() != hosts:
    raise UserError(f'--hosts={hosts}: {count()} processes have started; set --hosts={count()}')
  if not first():
    sys.stdout = open(os.devnull, 'w')
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    why = one_line(error)[:200]
    leave_alone(42, f'another host has failed ({why}); run the same command again')
  except BaseException as error:
    if not gathered():
      if not (known := program.explain(error)):
        traceback.print_exc()
      leave_alone(*(known or (1, 'the other hosts are waiting or gone')))
    raise
  gathered()


def gathered() -> bool:
  """Waits for all hosts and leaves together with them; returns whether they came.

  The first host must not leave early: the coordination service would end with it.
  """
  try:
    multihost.get_jax_distributed_client().wait_at_barrier('posjax: leave', HEARTBEAT * 1000)
    jax.distributed.shutdown()
  except jax.errors.JaxRuntimeError:
    return False
  return True


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
  client, talk = multihost.get_jax_distributed_client(), f'posjax/{next(_talks)}'
  client.key_value_set(f'{talk}/{jax.process_index()}', json.dumps(mine))
  said = [
    json.loads(client.blocking_key_value_get(f'{talk}/{host}', PATIENCE * 1000))
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
