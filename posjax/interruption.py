"""SIGTERM and Ctrl-C. They stop a run at once, or, while it trains, when a step is saved."""

import contextlib
import signal

EXIT_CODES = {signal.SIGTERM: 42, signal.SIGINT: 0}  # 42: the machine goes away, start it again


class Interrupted(BaseException):
  """Like KeyboardInterrupt, no error that anything but `main` may catch."""

  def __init__(self, number, saved=None):
    name = 'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'
    super().__init__(f'{name}: ' + (f'saved after step {saved}' if saved else 'stopped'))
    self.exit_code = EXIT_CODES[number]


@contextlib.contextmanager
def handling(handler):
  """Calls `handler(number, frame)` for either signal, inside."""
  before = {number: signal.signal(number, handler) for number in EXIT_CODES}
  try:
    yield
  finally:
    for number, former in before.items():
      signal.signal(number, former)


def at_once():
  """Inside, a signal raises Interrupted."""

  def handler(number, frame):
    raise Interrupted(number)

  return handling(handler)


@contextlib.contextmanager
def noted():
  """Gives the list of signals that came; a second Ctrl-C raises Interrupted all the same."""
  came = []

  def handler(number, frame):
    if number == signal.SIGINT and number in came:
      raise Interrupted(number)
    came.append(number)

  with handling(handler):
    yield came
