"""Writers of metrics in addition to metrics.jsonl; `config.writers` lists them by name."""

import hashlib
import importlib.util
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from posjax.errors import UserError, one_line


class Writer(Protocol):
  """The interface of a writer.

  Attributes:
    hint: the command or the page that shows the metrics; a run prints it at its start.
  """

  hint: str

  def write(self, step: int, values: dict[str, float]) -> None:
    """Writes one step's values, {name: number}."""

  def close(self) -> None:
    """Writes pending values and closes the writer."""


class TensorBoard:
  """A writer of event files; events of earlier attempts after step `start` are hidden.

  It avoids tensorboardX's SummaryWriter: if a full disk ends its thread, the run waits forever.
  """

  def __init__(self, settings: dict[str, Any], workdir: Path, start: int) -> None:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2

    directory = workdir / 'tensorboard'
    self.hint = f'tensorboard --logdir={directory}'
    directory.mkdir(exist_ok=True)
    self._writer = EventsWriter(str(directory / 'events'), filename_suffix=f'.{os.getpid()}')
    begins = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._writer.write_event(event_pb2.Event(step=start + 1, session_log=begins))

  def write(self, step: int, values: dict[str, float]) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    self._writer.write_event(Event(wall_time=time.time(), step=step, summary={'value': scalars}))
    self._writer.flush()

  def close(self) -> None:
    self._writer.close()


class WandB:
  """A writer to Weights & Biases: one W&B run per work directory, which a resumed run continues.

  WANDB_PROJECT replaces the project name, posjax; WANDB_MODE=offline writes files only.
  """

  def __init__(self, settings: dict[str, Any], workdir: Path, start: int) -> None:
    import wandb

    try:
      self._run = wandb.init(
        project=os.environ.get('WANDB_PROJECT', 'posjax'), name=workdir.name, dir=workdir,
        id=hashlib.sha256(str(workdir.resolve()).encode()).hexdigest()[:16], resume='allow',
        config=settings,
      )
    except wandb.Error as error:  # nobody is logged in, or there is no network
      raise UserError(
        f'writers = wandb: {one_line(error)}; WANDB_MODE=offline needs neither login '
        'nor network'
      ) from error
    self.hint = self._run.url or f'wandb sync {Path(self._run.dir).parent}'

  def write(self, step: int, values: dict[str, float]) -> None:
    self._run.log(values, step=step)

  def close(self) -> None:
    self._run.finish()


# {name: (class, required package)}
WRITERS = {'tensorboard': (TensorBoard, 'tensorboardX'), 'wandb': (WandB, 'wandb')}


def check_installed(names: Iterable[str]) -> None:
  """Raises UserError if a writer needs a package that is not installed."""
  for name in names:
    if not importlib.util.find_spec(WRITERS[name][1]):
      raise UserError(
        f"writers = {name}: it is not installed; in the folder of setup.py, run: "
        f"pip install -e '.[{name}]'"
      )


def open_all(
  names: Iterable[str], settings: dict[str, Any], workdir: Path, start: int
) -> list[Writer]:
  """Returns the writers `names`, for a run with these settings after `start` steps."""
  return [WRITERS[name][0](settings, workdir, start) for name in names]
