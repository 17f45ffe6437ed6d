"""Checkpoints: the state, and a record of the run and its data position. One save, one restore.

Orbax writes in the background and renames a complete checkpoint, so a killed run leaves its earlier
checkpoints intact. Orbax does not detect later corruption: a flipped byte is restored as a
different weight. So the record holds checksums of each array and of itself.

The state is restored under any mesh and any number of hosts: Orbax stores global arrays, and the
data position is the same on all hosts.
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from posjax.errors import UserError, one_line
from posjax.runtime import checksum, hosts, remote

ITEMS = ('state', 'record')  # of each checkpoint: arrays, and JSON

# A file in the work directory: a checkpoint was saved here.
SAVED = 'saved'

# errno values of corrupt or missing files; None: an error without errno.
CORRUPTION_ERRNOS = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)


class CorruptCheckpoint(Exception):
  """A checkpoint that is unreadable or has a checksum mismatch; its message is one line."""


class Restored(NamedTuple):
  step: int
  state: Any
  record: dict


class Checkpoints:
  """The checkpoints of one run, in `workdir`/checkpoints: the `keep` newest and the best.

  Raises:
    UserError: the directory does not exist (without `create`), or Orbax cannot use its name.
  """

  def __init__(self, workdir: pathlib.Path | str, keep: int, *, create: bool = False) -> None:
    self.directory = remote.path(workdir) / 'checkpoints'
    if create:
      check_name(self.directory)
    elif not self.directory.is_dir():
      raise UserError(f'{workdir}: no checkpoint is here; train first, or choose another --workdir')
    self._kept = KeepNewestAndBest(keep, losses={})
    self._saving = None  # the last step that was passed to Orbax
    self._manager = ocp.CheckpointManager(
      self.directory,
      item_names=ITEMS,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=self._kept,
        cleanup_tmp_directories=create,  # of interrupted saves
        lightweight_initialize=True,  # the directory may hold corrupt checkpoints and other files
        async_options=ocp.AsyncOptions(barrier_sync_fn=hosts.barrier()),
      ),
    )
    if create:
      hosts.on_first(self._check_writable)
    for step in self.steps():
      try:
        self._kept.losses[step] = self.record(step)['validation_loss']
      except CorruptCheckpoint:
        pass  # reading it raises the error again

  def steps(self) -> list[int]:
    """Returns the step numbers in the directory, ascending; checkpoints may be corrupt."""
    paths = (path for path in self.directory.iterdir() if path.name.isdecimal())
    numbered = (path for path in paths if path.name == str(int(path.name)))
    return sorted(int(path.name) for path in numbered if remote.is_complete(path))

  def record(self, step: int) -> dict[str, Any]:
    """Returns the record that `save` wrote. Raises CorruptCheckpoint."""
    if not (self.directory / str(step) / 'record').is_dir():
      raise CorruptCheckpoint('it is not a checkpoint of a run')
    record = self._read(step, 'record', ocp.args.JsonRestore(), 'its record')
    whole = isinstance(record, dict) and record.pop('sha256_of_record', None)
    if whole != checksum.of_json(record):
      raise CorruptCheckpoint('checksum mismatch in its record')
    return record

  def save(
    self, step: int, state: Any, batches: Any, record: dict[str, Any], validation_loss: float | None
  ) -> None:
    """Starts saving; returns when `state` may be overwritten.

    Raises:
      UserError: this checkpoint or the previous one cannot be written.
    """
    record = record | {
      'validation_loss': validation_loss,
      'checksums': jax.tree.map(int, jax.device_get(checksum.of_arrays(state))),
      'batches': batches.get_state(),
    }
    items = ocp.args.Composite(
      state=ocp.args.StandardSave(state),
      record=ocp.args.JsonSave(record | {'sha256_of_record': checksum.of_json(record)}),
    )
    self.wait()
    self._saving = step
    self._kept.losses[step] = validation_loss
    with self._writing():
      hosts.on_first(self._check_writable)
      self._manager.save(step, args=items, force=True)  # overrides Orbax's save policies

  def restore(
    self, step: int, abstract_state: Any, batches: Any = None, *,
    check: Callable[[dict[str, Any]], None],
  ) -> Restored:
    """Returns the checkpoint of `step` as `Restored`.

    Args:
      step: one of `steps`.
      abstract_state: shapes, dtypes and shardings of the state.
      batches: an iterator, which is moved to its saved position.
      check: a function of the record, which raises UserError if the record belongs to another run.

    Raises:
      CorruptCheckpoint: the checkpoint is unreadable, or a checksum does not match.
    """
    record = self.record(step)
    check(record)
    state = self._read(step, 'state', ocp.args.StandardRestore(abstract_state), 'its arrays')
    check_sums(state, record)
    if batches is not None:
      batches.set_state(record['batches'])
    return Restored(step, state, record)

  def weights(self, step: int, record: dict[str, Any], shapes: Any) -> Any:
    """Restores the weights only, as the tree `shapes`. Raises CorruptCheckpoint."""
    for path, _ in jax.tree_util.tree_leaves_with_path(shapes):
      if f'.params{jax.tree_util.keystr(path)}' not in record['checksums']:
        raise CorruptCheckpoint(f'it has no weight {jax.tree_util.keystr(path)}')
    with reading('its arrays'), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
      params = reader.restore(self.directory / str(step) / 'state', args=ocp.args.PyTreeRestore(
        item={'params': shapes}, partial_restore=True,
        restore_args=ocp.checkpoint_utils.construct_restore_args({'params': shapes}),
      ))['params']
    check_sums(params, record, under='.params')
    return params

  def _read(self, step, item, arguments, what):
    with reading(what):
      return self._manager.restore(step, args=ocp.args.Composite(**{item: arguments}))[item]

  def find(self, which: str, read: Callable[[int], Any]) -> Any:
    """Returns `read(step)` for checkpoint 'newest', 'best', or a step given as text.

    'newest' is the newest intact checkpoint; None if there are no checkpoints.

    Raises:
      UserError: the checkpoint does not exist or is corrupt; for 'newest': all are corrupt.
    """
    return self._find_newest(read) if which == 'newest' else self._find_one(which, read)

  def _find_newest(self, read):
    damaged = {}
    for step in reversed(self.steps()):
      try:
        found = read(step)
      except CorruptCheckpoint as error:
        damaged[step] = error
        continue
      for other, why in damaged.items():
        print(f'skipping checkpoint {other}: {why}', file=sys.stderr)
      return found
    if damaged:
      reasons = '; '.join(f'{step}: {why}' for step, why in damaged.items())
      raise UserError(
        f'{self.directory}: every checkpoint is corrupt; choose another --workdir: {reasons}'
      )
    return None

  def _find_one(self, which, read):
    steps = self.steps()
    step = self._kept.best(steps) if which == 'best' else int(which)
    there = f'saved steps are {", ".join(map(str, steps))}; newest and best are valid, too'
    if step not in steps:
      raise UserError(f'--checkpoint={which}: not in {self.directory}; {there}')
    try:
      return read(step)
    except CorruptCheckpoint as error:
      raise UserError(f'--checkpoint={which}: step {step} is corrupt: {error}; {there}') from error

  def quarantine(self, newest: int) -> None:
    """Moves checkpoints after step `newest`, from which the run resumes, into quarantine/."""
    hosts.on_first(lambda: self._move_after(newest))
    self._manager.reload()

  def _move_after(self, newest):
    place = self.directory.parent / 'quarantine'
    for step in self.steps():
      if step > newest:
        place.mkdir(exist_ok=True)
        targets = (place / f'{step}{suffix}' for suffix in ('', *(f'.{n}' for n in range(1, 999))))
        target = next(target for target in targets if not target.exists())
        remote.move(self.directory / str(step), target)
        print(f'checkpoint {step} was moved to {target}', file=sys.stderr)

  def newest(self) -> int | None:
    """Returns the newest step that was saved or has a readable record; None if there is none."""
    return max((step for step in self.steps() if step in self._kept.losses), default=None)

  def wait(self) -> None:
    """Waits until the last save is complete. Raises UserError if it cannot be written."""
    with self._writing():
      self._manager.wait_until_finished()
      saved = self._saving is not None and self._saving in self.steps()
      if saved and hosts.first():
        (self.directory.parent / SAVED).write_bytes(b'')

  def _check_writable(self):
    """Raises OSError if no folder can be created; Orbax would wait minutes and not say why."""
    probe = self.directory / 'probe'
    if remote.is_remote(probe):
      probe.write_bytes(b'')  # it stays, since a bucket has no empty folders
      return
    try:
      probe.mkdir(exist_ok=True)
      probe.rmdir()
    except OSError as error:
      raise OSError(error.errno, error.strerror, str(self.directory)) from error

  @contextlib.contextmanager
  def _writing(self):
    """Raises UserError in place of Orbax's errors on a full or write-protected disk."""
    try:
      yield
    except Exception as error:
      if (number := system_error(error)) is None:
        raise
      newest = self.newest() if self.directory.is_dir() else None
      raise UserError(
        f'{self.directory}: checkpoint {self._saving} cannot be written: {os.strerror(number)}; '
        f'the newest saved checkpoint is {newest or "none"}; free disk space or allow writing, '
        'then repeat the command'
      ) from error

  def close(self) -> None:
    self.wait()
    self._manager.close()


@dataclasses.dataclass
class KeepNewestAndBest(policies.PreservationPolicy):
  """A policy that keeps the newest checkpoints, the best one, and steps without a readable record.

  Orbax's `max_to_keep` with a `best_fn` would delete the newest one, and with it a run's progress.
  """

  newest: int  # how many
  losses: dict[int, float | None]  # validation loss of each step; None: it was not validated

  def best(self, steps: Sequence[int]) -> int | None:
    """Returns the step with the lowest validation loss; None if none was validated."""
    validated = [step for step in steps if self.losses.get(step) is not None]
    return min(validated, key=self.losses.get, default=None)

  def should_preserve(
    self, checkpoints: Sequence[policies.PolicyCheckpointInfo], *,
    context: policies.PreservationContext,
  ) -> list[bool]:
    ours = [info.step for info in checkpoints if info.step in self.losses]
    kept = {*ours[-self.newest :], self.best(ours)}
    return [info.step in kept or info.step not in ours for info in checkpoints]


def check_sums(arrays: Any, record: dict[str, Any], under: str = '') -> None:
  """Raises CorruptCheckpoint for an array whose checksum, at key `under` + path, does not match."""
  sums = jax.device_get(checksum.of_arrays(arrays))
  changed = [name for name in sums if record['checksums'][under + name] != sums[name]]
  if changed:
    raise CorruptCheckpoint(f'checksum mismatch in its array {under}{changed[0]}')


def check_name(directory: pathlib.Path) -> None:
  """Raises UserError for a folder name with which Orbax writes unreadable checkpoints."""
  strange = [c for c in '*?[' if c in str(directory)]  # Orbax reads them as patterns
  strange += ['a byte that is not UTF-8'] * any('\ud800' <= c <= '\udfff' for c in str(directory))
  if strange:
    raise UserError(
      f'{directory}: Orbax cannot save if the name of a folder has {" or ".join(strange)}; '
      'choose another --workdir'
    )


def system_error(error: BaseException) -> int | None:
  """Returns the errno of an error; None if it has none."""
  # TensorStore's messages contain it: … No space left on device [os_error_code='28' …
  code = re.search(r"os_error_code='(\d+)'", str(error))
  return int(code[1]) if code else getattr(error, 'errno', None)


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
  """Raises CorruptCheckpoint for read errors, except temporary ones such as exhausted memory."""
  try:
    yield
  except (MemoryError, jax.errors.JaxRuntimeError):
    raise
  except Exception as error:
    cause = error.__cause__ or error  # Orbax's error says where, TensorStore's says why
    if (number := system_error(cause)) not in CORRUPTION_ERRNOS:
      raise OSError(number, os.strerror(number), what) from error
    why = f'{type(cause).__name__}: {one_line(cause)[:120]}'
    raise CorruptCheckpoint(f'{what} cannot be read ({why})') from error
