"""What a run says while it runs: progress, metrics.jsonl, TensorBoard, where the time went."""

import collections
import contextlib
import json
import math
import pathlib
import sys
import time

import tqdm


class Diverged(Exception):
  """The loss is no longer a number; exit code 3."""


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
  """

  def __init__(self, workdir, clock, *, start, steps, tokens_per_step):
    from tensorboardX import SummaryWriter

    self._path = pathlib.Path(workdir) / 'metrics.jsonl'
    kept = [line for line in _lines(self._path) if json.loads(line)['step'] <= start]
    rewritten = self._path.with_suffix('.tmp')
    rewritten.write_text(''.join(kept))
    rewritten.replace(self._path)
    self._file = self._path.open('a')
    self._board = SummaryWriter(str(pathlib.Path(workdir) / 'tensorboard'), purge_step=start + 1)
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

    Raises:
      Diverged: the loss or the gradients' norm is NaN or infinite.
    """
    values = {name: float(value) for name, value in values.items()}
    if not all(map(math.isfinite, values.values())):
      raise Diverged(f'step {step}: ' + ', '.join(f'{k} {v:.4g}' for k, v in values.items()))
    self._file.write(json.dumps({'step': step, **values}) + '\n')
    self._file.flush()
    speed = self._speed(self._last, step)
    self._last = (step, self._now())
    for name, value in (values | {'tokens_per_second': speed}).items():
      self._board.add_scalar(name, value, step)
    self._show(step, values, speed)

  def _speed(self, since, step):
    """Tokens per second since a former (step, time)."""
    return (step - since[0]) * self._tokens / (self._now() - since[1])

  def _show(self, step, values, speed):
    text = f'loss {values["loss"]:.3f}, {speed:,.0f} tokens/s'
    if 'validation_loss' in values:
      text += f', validation loss {values["validation_loss"]:.3f}'
    self._bar.set_postfix_str(text, refresh=False)
    self._bar.update(step - self._bar.n)
    if self._bar.disable and (step % self._every == 0 or 'validation_loss' in values):
      left = (self._steps - step) * self._tokens / self._speed(self._first, step)
      print(f'step {step}/{self._steps}: {text}, {left:.0f} s left', flush=True)

  def close(self):
    self._bar.close()
    self._file.close()
    self._board.close()


def _lines(path):
  """The file's whole lines: a run that was killed may have left half of one."""
  lines = path.read_text().splitlines(keepends=True) if path.exists() else []
  return [line for line in lines if line.endswith('\n')]
