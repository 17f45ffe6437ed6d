"""What a run says while it runs: progress, metrics.jsonl, TensorBoard, where the time went."""

import collections
import contextlib
import json
import math
import os
import pathlib
import sys
import time
import warnings

import tqdm

from posjax import files
from posjax.config import UserError

METRICS = 'metrics.jsonl'


class Diverged(UserError):
  """The loss or its gradient is no longer a number."""

  exit_code = 3


def check(step, values):
  """Raises Diverged if a run may not go on from `step`, whose metrics are `values`."""
  if gave_up := int(values['gave_up']):
    raise Diverged(f'step {gave_up}: the loss or its gradient is NaN or infinite')
  if not math.isfinite(values.get('validation_loss', 0.0)):
    raise Diverged(f'step {step}: the validation loss is {values["validation_loss"]}')


class Clock:
  """Seconds by activity: `with clock('compile'): …`. An inner one's time is not the outer's."""

  def __init__(self, **seconds):
    self.seconds = collections.Counter(seconds)

  @contextlib.contextmanager
  def __call__(self, activity):
    before, start = self.seconds.total(), time.perf_counter()
    yield
    inner = self.seconds.total() - before
    self.seconds[activity] += time.perf_counter() - start - inner

  def __str__(self):
    parts = ', '.join(f'{name} {seconds:.1f}' for name, seconds in self.seconds.items())
    return f'seconds: {parts}; in all {self.seconds.total():.1f}'


class Log:
  """Progress of steps `start` + 1 to `steps`, on the screen and in `workdir`.

  metrics.jsonl holds what seed and config determine, so that two runs write the same file; speeds
  go to the screen and to TensorBoard. Lines after `start`, of a run that was cut off, are dropped.

  Attributes:
    written: how many lines metrics.jsonl has; each checkpoint notes it.
  """

  def __init__(self, workdir, clock, *, start, steps, tokens_per_step):
    path = pathlib.Path(workdir) / METRICS
    kept = [*lines(path, last=start)]
    files.replace(path, ''.join(line + '\n' for line in kept))
    self.written = len(kept)
    self._file = path.open('a')
    self._board = Board(path.with_name('tensorboard'), start)
    self._bar = tqdm.tqdm(
      total=steps, initial=start, unit='step', disable=not sys.stderr.isatty(), dynamic_ncols=True
    )
    self._every = max(1, steps // 20)
    self._clock, self._steps, self._tokens = clock, steps, tokens_per_step
    self._first = self._last = (start, self._now())

  def _now(self):
    """Seconds, in which evaluations take no time: speed is that of training."""
    return time.perf_counter() - self._clock.seconds['evaluate']

  def write(self, step, values):
    """Writes one step's `values`, numbers or scalar arrays by name; waits for them.

    A loss that is no number, of a step that was passed over, is null.

    Raises:
      Diverged: see `check`.
    """
    values = {name: float(value) for name, value in values.items()}
    check(step, values)
    del values['gave_up']
    values['skipped'] = int(values['skipped'])
    written = {k: v if math.isfinite(v) else None for k, v in values.items()}
    self._file.write(json.dumps({'step': step, **written}) + '\n')
    self._file.flush()
    self.written += 1
    speed = self._speed(self._last, step)
    self._last = (step, self._now())
    self._board.write(step, values | {'tokens_per_second': speed})
    self._show(step, values, speed)

  def sync(self):
    """Returns when what was written is on the disk, whatever becomes of the machine."""
    os.fsync(self._file.fileno())

  def _speed(self, since, step):
    """Tokens per second since a former (step, time)."""
    return (step - since[0]) * self._tokens / (self._now() - since[1])

  def _show(self, step, values, speed):
    text = f'loss {values["loss"]:.3f}, {speed:,.0f} tokens/s'
    if 'validation_loss' in values:
      text += f', validation loss {values["validation_loss"]:.3f}'
    if values['skipped']:
      text += f', {values["skipped"]} steps skipped'
    self._bar.set_postfix_str(text, refresh=False)
    self._bar.update(step - self._bar.n)
    if self._bar.disable and (step % self._every == 0 or 'validation_loss' in values):
      left = (self._steps - step) * self._tokens / self._speed(self._first, step)
      with contextlib.suppress(BrokenPipeError):  # a run goes on where nobody reads what it says
        print(f'step {step}/{self._steps}: {text}, {left:.0f} s left', flush=True)

  def close(self):
    self._bar.close()
    self._file.close()
    self._board.close()


class Board:
  """Scalars for TensorBoard, from step `start` + 1 on; it hides what former files have from there.

  Not tensorboardX's SummaryWriter: where its thread dies of a full disk, the run waits forever.
  """

  def __init__(self, directory, start):
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2

    directory.mkdir(exist_ok=True)
    self._writer = EventsWriter(str(directory / 'events'), filename_suffix=f'.{os.getpid()}')
    begins = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._writer.write_event(event_pb2.Event(step=start + 1, session_log=begins))

  def write(self, step, values):
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    self._writer.write_event(Event(wall_time=time.time(), step=step, summary={'value': scalars}))
    self._writer.flush()

  def close(self):
    self._writer.close()


def lines(path, last=math.inf):
  """The lines of metrics.jsonl up to step `last`, less what a kill left torn or others wrote."""
  if path.exists():
    for line in path.read_text(errors='replace').splitlines():
      with contextlib.suppress(ValueError, RecursionError):
        row = json.loads(line)
        if isinstance(row, dict) and type(row.get('step')) is int and row['step'] <= last:
          yield line


def check_kept(workdir, *, step, written):
  """Warns if metrics.jsonl lacks some of the lines `written` up to `step`, where a run resumes."""
  path = pathlib.Path(workdir) / METRICS
  lost = written - sum(1 for _ in lines(path, step))
  if lost > 0:
    warnings.warn(
      f'{path}: {lost} of the {written} lines up to step {step} are gone; the run goes on without',
      stacklevel=2,
    )
