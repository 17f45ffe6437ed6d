"""SIGTERM and Ctrl-C. They end a program at once, or when what it is about to save is saved.

A handler raises nothing: Python loses what is raised while it collects garbage or imports modules.
"""

import contextlib
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
  """Like KeyboardInterrupt, no error that anything but `program` may catch.

  Attributes:
    exit_code: 42 after SIGTERM: the machine goes away, start the same command again. After Ctrl-C 0
      if the signal made the run save, else 130.
  """

  def __init__(self, number, saved=None):
    name = 'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'
    super().__init__(f'{name}: ' + (f'saved after step {saved}' if saved else 'stopped'))
    self.exit_code = 42 if number == signal.SIGTERM else 0 if saved else 130


@contextlib.contextmanager
def defer_signals(then=lambda: None):
  """Inside, signals wait: gives the list of those that came. Each calls `then`.

  A second Ctrl-C does what it did before.

  Raises:
    Interrupted: at the end, if one came and nothing else was raised for it.
  """
  came = []

  def handler(number, frame):
    if number == signal.SIGINT and number in came:
      signal.signal(number, before[number])
      signal.raise_signal(number)
    came.append(number)
    then()

  before = {number: signal.getsignal(number) for number in SIGNALS}
  try:
    for number in SIGNALS:
      signal.signal(number, handler)
    yield came
  finally:
    for number in SIGNALS:
      signal.signal(number, before[number])
  if came:
    raise Interrupted(came[0])
