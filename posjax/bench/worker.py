"""The process of a subject: builds it, then runs a turn for each line on standard input.

Each answer is a line of JSON on standard output: first {"planned": bytes or null}, then {"cpu":
seconds, "wall": seconds} of one call, or {"error": …}. Output of libraries goes to standard error.
With `once`, the process runs one call and ends: a cold start.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from posjax.bench.subjects import Subject
from posjax.runtime import allocator

TURN = 0.3  # minimum seconds of a turn: short calls are repeated


def main(argument: str, once: str = '') -> None:
  answers = os.fdopen(os.dup(1), 'w', buffering=1)
  os.dup2(2, 1)
  answer = lambda **values: print(json.dumps(values), file=answers)
  subject = Subject(**json.loads(argument))
  if subject.module == 'ours':
    allocator.keep_freed_memory()  # as posjax.main does
  try:
    module = importlib.import_module(f'posjax.bench.{subject.module}')
    call, planned = module.build(subject)
    if once:
      call()
      return
    repeats = 0 if subject.case == 'memory' else warm(call)
  except ModuleNotFoundError as error:
    if error.name.startswith('posjax'):
      raise
    answer(error=f'{error.name} is not installed')
    return
  except Exception as error:
    from posjax.errors import UserError

    if not isinstance(error, UserError):
      raise
    answer(error=str(error))
    return
  answer(planned=planned)
  for _ in sys.stdin:
    answer(**seconds(call, repeats))


def warm(call: Callable[[], Any]) -> int:
  """Calls it twice; returns the number of calls per turn."""
  call()
  return max(1, round(TURN / seconds(call, 1)['wall']))


def seconds(call: Callable[[], Any], repeats: int) -> dict[str, float]:
  cpu, wall = time.process_time(), time.perf_counter()
  for _ in range(repeats):
    call()
  return {
    'cpu': (time.process_time() - cpu) / repeats, 'wall': (time.perf_counter() - wall) / repeats,
  }


if __name__ == '__main__':
  main(*sys.argv[1:])
