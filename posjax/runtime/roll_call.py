"""The roll call before several hosts join: who is missing, or has come twice.

JAX would wait minutes for a host that never comes, and then abort without naming it.
"""

import contextlib
import json
import socket
import time

from posjax.errors import UserError

ARRIVAL = 40  # seconds to wait for a host that is started with --coordinator


class Absent(UserError):
  """A host has not come, perhaps since its machine is being replaced."""

  exit_code = 42


def call(hosts: int, coordinator: str, host: int) -> None:
  """Returns on every host when all have come; if one is missing, JAX would abort.

  Each host sends [host, hosts] to the first, at the address that JAX uses afterwards, and receives
  [exit code, message].

  Raises:
    UserError: two processes have the same number, or the numbers of hosts differ.
    Absent: a host has not come in `ARRIVAL` seconds.
  """
  until = time.monotonic() + ARRIVAL
  answer = ask if host else listen
  code, message = answer(hosts, coordinator, host, until)
  if code:
    raise (Absent if code == Absent.exit_code else UserError)(message)


def listen(hosts: int, coordinator: str, host: int, until: float) -> tuple[int, str]:
  """Waits for all other hosts; returns (exit code, message), and sends it to those that came."""
  v6 = socket.has_dualstack_ipv6()
  family, port = socket.AF_INET6 if v6 else socket.AF_INET, int(coordinator.rpartition(':')[2])
  try:
    server = socket.create_server(('', port), family=family, dualstack_ipv6=v6)
  except OSError as error:
    return 2, f'--coordinator={coordinator}: {error.strerror} on host 0; choose another port'
  calls, answer = [], None
  with server, contextlib.ExitStack() as connections:
    while not answer:
      there = {number for number, _, connection in calls if not closed(connection)}
      if len(there) == hosts - 1:
        answer = 0, ''
      elif (seconds := until - time.monotonic()) <= 0:
        absent = ', '.join(str(other) for other in range(1, hosts) if other not in there)
        answer = 42, f'host {absent} has not come in {ARRIVAL} s; start all hosts again'
      elif call := receive(server, connections, seconds):
        number, total, _ = call
        twice = any(number == other and not closed(old) for other, _, old in calls)
        calls.append(call)
        if total != hosts:
          answer = 2, f'host {number} has --hosts={total}, but host 0 has --hosts={hosts}'
        elif twice:
          answer = 2, f'two processes have --host={number}; each host needs a number of its own'
    for *_, connection in calls:
      with contextlib.suppress(OSError):
        connection.sendall(json.dumps(answer).encode())
  return answer


def receive(
  server: socket.socket, connections: contextlib.ExitStack, seconds: float
) -> tuple[int, int, socket.socket] | None:
  """Returns (host, hosts, connection) of the next call; None if none came, or not from a host."""
  server.settimeout(seconds)
  try:
    connection = connections.enter_context(server.accept()[0])
    connection.settimeout(1)
    number, total = json.loads(connection.makefile().readline())
  except (OSError, TypeError, ValueError):
    return None
  return number, total, connection


def closed(connection: socket.socket) -> bool:
  """Returns whether the other side has closed a connection, on which it sends no more."""
  connection.setblocking(False)
  try:
    return not connection.recv(1)
  except BlockingIOError:
    return False
  except OSError:
    return True


def ask(hosts: int, coordinator: str, host: int, until: float) -> tuple[int, str]:
  """Calls the first host until it answers; returns (exit code, message)."""
  address, _, port = coordinator.rpartition(':')
  why = ''
  while time.monotonic() < until:
    try:
      with socket.create_connection((address.strip('[]'), int(port)), 2) as connection:
        connection.sendall(f'{json.dumps([host, hosts])}\n'.encode())
        connection.settimeout(2 * ARRIVAL)  # host 0 may have started later
        if said := connection.makefile('rb').readline():
          return tuple(json.loads(said))
    except (TypeError, ValueError):
      return 2, f'--coordinator={coordinator}: in use, by a run that has begun or another program'
    except OSError as error:
      why = f' ({error.strerror or "time out"})'
    time.sleep(0.2)
  return 42, f'host 0 does not answer at {coordinator}{why}; start all hosts again'
