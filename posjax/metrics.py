"""Logs of a run: progress, metrics.jsonl, speed.jsonl, and seconds by activity."""

import collections
import contextlib
import json
import math
import os
import pathlib
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import tqdm

from posjax.errors import UserError
from posjax.runtime import files
from posjax.writers import Writer

METRICS = 'metrics.jsonl'
SPEED = 'speed.jsonl'


class Diverged(UserError):
  """The loss or its gradient is NaN or infinite."""

  exit_code = 3


def check(step: int, values: dict[str, Any]) -> None:
  """Raises Diverged if a run must stop after `step`, whose metrics are `values`."""
  if gave_up := int(values['gave_up']):
    raise Diverged(f'step {gave_up}: the loss or its gradient is NaN or infinite')
  if not math.isfinite(values.get('validation_loss', 0.0)):
    raise Diverged(f'step {step}: the validation loss is {values["validation_loss"]}')


class Clock:
  """Seconds by activity: `with clock('compile'): …`. An outer block excludes its inner blocks."""

  def __init__(self, **seconds: float) -> None:
    self.seconds = collections.Counter(seconds)

  @contextlib.contextmanager
  def __call__(self, activity: str) -> Iterator[None]:
    before, start = self.seconds.total(), time.perf_counter()
    yield
    inner = self.seconds.total() - before
    self.seconds[activity] += time.perf_counter() - start - inner

  def __str__(self) -> str:
    parts = ', '.join(f'{name} {seconds:.1f}' for name, seconds in self.seconds.items())
    return f'seconds: {parts}; total {self.seconds.total():.1f}'


class Log:
  """Progress of steps `start` + 1 to `steps`, on the screen and in `workdir`.

  metrics.jsonl holds values that seed and config determine, so that two runs write the same file.
  Values that depend on the machine go to speed.jsonl, with one line for each line of metrics.jsonl:

    seconds: training time up to this step, over all attempts, without evaluations.
    tokens: trained on up to this step.
    tokens_per_second: since the previous line.
    utilization: model FLOP/s since then, as a fraction of the devices' peak; null if unknown.

  Lines after step `start`, from an interrupted attempt, are dropped.

  Args:
    workdir: the directory of the files.
    clock: the run's `Clock`.
    start: number of steps already taken.
    steps: number of steps of the run.
    tokens_per_step: tokens in all rows of a batch.
    flops_per_step: model FLOPs of a step.
    peak: FLOP/s of all devices together, or None.
    writers: see posjax/writers.py; they get metrics and speed, and are closed with the log.

  Attributes:
    written: number of lines in metrics.jsonl; each checkpoint records it.
  """

  def __init__(
    self, workdir: pathlib.Path | str, clock: Clock, *, start: int, steps: int,
    tokens_per_step: int, flops_per_step: float = 0, peak: float | None = None,
    writers: Sequence[Writer] = (),
  ) -> None:
    self._metrics, kept = reopen(pathlib.Path(workdir) / METRICS, start)
    self._speeds, timed = reopen(pathlib.Path(workdir) / SPEED, start)
    self.written = len(kept)
    self._writers = writers
    self._bar = tqdm.tqdm(
      total=steps, initial=start, disable=not sys.stderr.isatty(), dynamic_ncols=True,
      bar_format='{desc}{bar} {n_fmt}/{total_fmt}',
    )
    self._every = max(1, steps // 20)
    self._clock, self._steps, self._tokens = clock, steps, tokens_per_step
    self._flops, self._peak = flops_per_step, peak
    self._before = timed[-1].get('seconds', 0.0) if timed else 0.0  # of earlier attempts
    self._first = self._last = (start, self._now())
    self._validation = ''

  def _now(self):
    """Returns seconds without evaluations, so that speed is training speed."""
    return time.perf_counter() - self._clock.seconds['evaluate']

  def write(self, step: int, values: dict[str, Any]) -> None:
    """Writes one step's `values`, {name: number or scalar array}; waits for the arrays.

    The loss of a skipped step is not finite; it is written as null.

    Raises:
      Diverged: see `check`.
    """
    values = {name: float(value) for name, value in values.items()}
    check(step, values)
    del values['gave_up']
    values['skipped'] = int(values['skipped'])
    written = {k: v if math.isfinite(v) else None for k, v in values.items()}
    append(self._metrics, {'step': step, **written})
    self.written += 1
    speed = self._speed(step)
    append(self._speeds, {'step': step, **speed})
    for writer in self._writers:
      writer.write(step, values | {k: v for k, v in speed.items() if v is not None})
    self._show(step, values, speed['tokens_per_second'])

  def sync(self) -> None:
    """Flushes all lines to disk, so that they survive a crash of the machine."""
    for file in (self._metrics, self._speeds):
      os.fsync(file.fileno())

  def _speed(self, step):
    """Returns a line of speed.jsonl, without its step."""
    (last, before), now = self._last, self._now()
    self._last = (step, now)
    steps_per_second = (step - last) / (now - before)
    utilization = steps_per_second * self._flops / self._peak if self._peak else None
    return {
      'seconds': round(self._before + now - self._first[1], 3),
      'tokens': step * self._tokens,
      'tokens_per_second': round(steps_per_second * self._tokens, 1),
      'utilization': utilization,
    }

  def _show(self, step, values, tokens_per_second):
    """Shows progress, the loss first because a terminal may be narrow."""
    start, began = self._first
    left = (self._steps - step) * (self._last[1] - began) / (step - start)
    if 'validation_loss' in values:
      self._validation = f', validation {values["validation_loss"]:.3f}'
    text = f'loss {values["loss"]:.3f}{self._validation}, {tokens_per_second:,.0f} tokens/s, '
    text += f'{tqdm.tqdm.format_interval(left)} left'
    if values['skipped']:
      text += f', {values["skipped"]} steps skipped'
    self._bar.set_description_str(f'{text} ', refresh=False)
    self._bar.update(step - self._bar.n)
    if self._bar.disable and (step % self._every == 0 or 'validation_loss' in values):
      with contextlib.suppress(BrokenPipeError):  # a run continues without a reader
        print(f'step {step}/{self._steps}: {text}', flush=True)

  def close(self) -> None:
    self._bar.close()
    self._metrics.close()
    self._speeds.close()
    for writer in self._writers:
      writer.close()


class Checks:
  """The log of hosts other than the first: it writes nothing, but finds out when to stop."""

  written = 0

  def write(self, step: int, values: dict[str, Any]) -> None:
    check(step, values)

  def sync(self) -> None:
    pass

  def close(self) -> None:
    pass


def reopen(path: pathlib.Path, last: float) -> tuple[TextIO, list[dict[str, Any]]]:
  """Cuts a JSON Lines file after step `last`; returns it, open to append, and its rows."""
  kept = lines(path, last)
  files.replace(path, ''.join(line + '\n' for line in kept))
  return path.open('a'), [json.loads(line) for line in kept]


def append(file: TextIO, row: dict[str, Any]) -> None:
  file.write(json.dumps(row) + '\n')
  file.flush()


def lines(path: pathlib.Path, last: float = math.inf) -> list[str]:
  """Returns a file's lines up to step `last`, without incomplete or foreign lines."""
  return [line for line, row in parsed(path, 0) if row['step'] <= last]


def newest(path: pathlib.Path) -> dict[str, Any]:
  """Returns the last line of a file as a dict; {} if there is none."""
  rows = [row for _, row in parsed(path, -4096)]
  return rows[-1] if rows else {}


def last_validation(workdir: pathlib.Path | str) -> float:
  """Returns the last validation loss of a run."""
  rows = [row for _, row in parsed(pathlib.Path(workdir) / METRICS, 0)]
  return [row['validation_loss'] for row in rows if 'validation_loss' in row][-1]


def mean_loss(workdir: pathlib.Path | str) -> float:
  """Returns the mean training loss over the logged steps of a run; NaN if a step had none."""
  rows = [row for _, row in parsed(pathlib.Path(workdir) / METRICS, 0)]
  return statistics.mean(math.nan if row['loss'] is None else row['loss'] for row in rows)


def parsed(path: pathlib.Path, start: int) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields (line, dict) for each line with a step, from byte `start`; negative: from the end."""
  content = path.read_bytes()[start:] if path.exists() else b''
  for line in content.decode(errors='replace').splitlines():
    with contextlib.suppress(ValueError, RecursionError):
      row = json.loads(line)
      if isinstance(row, dict) and type(row.get('step')) is int:
        yield line, row


def check_kept(workdir: pathlib.Path | str, *, step: int, written: int) -> None:
  """Warns if metrics.jsonl has fewer than `written` lines up to `step`, where a run resumes."""
  path = pathlib.Path(workdir) / METRICS
  lost = written - len(lines(path, step))
  if lost > 0:
    warnings.warn(
      f'{path}: {lost} of the {written} lines up to step {step} are missing; the run continues',
      stacklevel=2,
    )
