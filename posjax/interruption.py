"""SIGTERM and Ctrl-C. They stop a run at once, or, while it trains, when a step is saved."""

import contextlib
import signal


class Interrupted(BaseException):
  """Like KeyboardInterrupt, no error that anything but `main` may catch.

  Attributes:
    exit_code: 42 after SIGTERM: the machine goes away, start the same command again. After Ctrl-C 0
      if the signal made the run save, else 130.
  """

  def __init__(self, number, saved=None):
    name = 'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'
    super().__init__(f'{name}: ' + (f'saved after step {saved}' if saved else 'stopped'))
    self.exit_code = 42 if number == signal.SIGTERM else 0 if saved else 130


# What came so far. Python loses what a handler raises while it collects garbage; the next that
# looks here sees it all the same.
_came = []


@contextlib.contextmanager
def _handling(wait):
  """Notes signals; raises Interrupted for the first, unless told to `wait`, and a second Ctrl-C."""

  def handler(number, frame):
    again = number == signal.SIGINT and number in _came
    _came.append(number)
    if again or (len(_came) == 1 and not wait):
      raise Interrupted(number)

  before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    yield _came
  finally:
    for number, former in before.items():
      signal.signal(number, former)


@contextlib.contextmanager
def at_once():
  """Inside, a signal raises Interrupted."""
  try:
    with _handling(wait=False):
      yield
  finally:
    _came.clear()


def noted():
  """Inside, signals wait: gives the list of those that came."""
  return _handling(wait=True)


@contextlib.contextmanager
def unmasked():
  """What a signal raised leaves as such, whatever error the code that it fell into made of it.

  Python's locks do so: a thread that is interrupted while it waits for another releases a lock that
  it has not got back yet, which is a RuntimeError.
  """
  try:
    yield
  except Exception as error:
    cause = error
    while cause and not isinstance(cause, (Interrupted, KeyboardInterrupt)):
      cause = cause.__context__
    if not cause:
      raise
    raise cause from None
