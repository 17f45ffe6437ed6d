"""SIGTERM and Ctrl-C, which end a program immediately, or after it has saved its state.

Handlers do not raise: Python loses exceptions raised during garbage collection or imports.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
  """An interruption by a signal; like KeyboardInterrupt, only `program` may catch it.

  Attributes:
    exit_code: 42 after SIGTERM: the machine goes away, repeat the command elsewhere. After Ctrl-C:
      0 if the run has saved its state, otherwise 130.
  """

  def __init__(self, number: int, saved: int | None = None) -> None:
    name = 'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'
    super().__init__(f'{name}: ' + (f'saved after step {saved}' if saved else 'stopped'))
    self.exit_code = 42 if number == signal.SIGTERM else 0 if saved else 130


@contextlib.contextmanager
def defer_signals(then: Callable[[], Any] = lambda: None) -> Iterator[list[int]]:
  """Defers signals in the block; yields the list of received ones. Each calls `then` on arrival.

  A second Ctrl-C calls the previous handler.

  Raises:
    Interrupted: at the end of the block, if a signal arrived and nothing was raised.
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
