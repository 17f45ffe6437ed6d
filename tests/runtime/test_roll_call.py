"""The roll call: several hosts in threads, each with the answer that all must hear."""

import contextlib
import socket
import threading
from concurrent import futures

from posjax.errors import UserError
from posjax.runtime import roll_call
from tests.support.several import free_port


def answers(port, *numbers, hosts=3):
  """Returns the (exit code, message) of each host; all start together."""
  with futures.ThreadPoolExecutor() as pool:
    return [*pool.map(lambda number: roll_of(port, number, hosts), numbers)]


def roll_of(port, number, hosts):
  """Returns (exit code, message) of one host."""
  try:
    roll_call.call(hosts, f'localhost:{port}', number)
  except UserError as error:
    return error.exit_code, str(error)
  return 0, ''


def test_the_roll_is_complete_when_each_host_has_come():
  assert answers(free_port(), 2, 0, 1) == [(0, '')] * 3


def test_hosts_that_disagree_all_hear_the_same():
  (code, line), *others = answers(free_port(), 0, 1, 1)
  assert code == 2 and line.startswith('two processes have --host=1; ')
  assert others == [(code, line)] * 2
  port = free_port()
  with futures.ThreadPoolExecutor() as pool:
    rolls = [pool.submit(roll_of, port, 0, 3), pool.submit(roll_of, port, 1, 2)]
    answer = 2, 'host 1 has --hosts=2, but host 0 has --hosts=3'
    assert [roll.result() for roll in rolls] == [answer] * 2


def test_all_hear_which_hosts_have_not_come(monkeypatch):
  monkeypatch.setattr(roll_call, 'ARRIVAL', 3)  # enough for both threads on a busy machine
  (code, line), other = answers(free_port(), 0, 2, hosts=5)
  assert (code, line) == other
  assert code == 42 and line.startswith('host 1, 3, 4 has not come in 3 s; ')
  monkeypatch.setattr(roll_call, 'ARRIVAL', 0.2)
  ((code, line),) = answers(port := free_port(), 1)
  assert code == 42
  assert line.startswith(f'host 0 does not answer at localhost:{port} (Connection refused); ')


def test_a_host_that_was_started_again_counts_once():
  port = free_port()
  with futures.ThreadPoolExecutor() as pool:
    first = pool.submit(roll_of, port, 0, 3)
    for said in (b'GET / HTTP/1.1\n', b'[1, 3]\n'):  # no host; one that is stopped
      while True:
        with contextlib.suppress(ConnectionRefusedError):
          with socket.create_connection(('localhost', port)) as connection:
            connection.sendall(said)
          break
    others = [pool.submit(roll_of, port, number, 3) for number in (1, 2)]
    assert [each.result() for each in (first, *others)] == [(0, '')] * 3


def test_an_address_in_use_is_an_error_of_one_line():
  with socket.create_server(('localhost', 0)) as other:
    port = other.getsockname()[1]
    answer = threading.Thread(target=lambda: other.accept()[0].sendall(b'\0\0\x06\4\0\n'))
    answer.start()
    code, line = roll_of(port, 1, 2)
    answer.join()
  assert code == 2 and line.startswith(f'--coordinator=localhost:{port}: in use')
