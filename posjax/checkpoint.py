"""Checkpoints: state, data iterator, and a record of what they belong to. One save, one restore.

Orbax writes in the background and renames when whole, so a killed run leaves its former checkpoints
intact. What it does not notice is damage done later: a flipped byte restores as another weight. So
the record holds a checksum of each array, of the iterator's state, and of itself.
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import re
import sys
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from posjax.errors import UserError, one_line
from posjax.runtime import checksum

# Each checkpoint holds: state (arrays), data (Grain's iterator, one file per host), record (JSON).
ITEMS = ('state', 'data', 'record')

# A file in the work directory: there were checkpoints here.
SAVED = 'saved'

# What the system says of files that are damaged or gone; None: it says nothing.
CORRUPTION_ERRNOS = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)


class CorruptCheckpoint(Exception):
  """A checkpoint cannot be read, or is not what was saved: one line saying why."""


class Restored(NamedTuple):
  step: int
  state: Any
  record: dict


class Checkpoints:
  """Those of one run, in `workdir`/checkpoints; `keep` newest ones and the best.

  Raises:
    UserError: there are none, and no run is to begin here (`create`).
  """

  def __init__(self, workdir, keep, *, create=False):
    self.directory = pathlib.Path(workdir).absolute() / 'checkpoints'
    if create:
      check_name(self.directory)
    elif not self.directory.is_dir():
      raise UserError(f'{workdir}: no checkpoint is here; train first, or name its --workdir')
    self._kept = KeepNewestAndBest(keep, losses={})
    self._saving = None  # the last step that was given to Orbax
    self._manager = ocp.CheckpointManager(
      self.directory,
      item_names=ITEMS,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=self._kept,
        cleanup_tmp_directories=create,  # of saves that were cut off
        lightweight_initialize=True,  # what lies there may be damaged, or no checkpoint at all
      ),
    )
    if create:
      self._check_writable()
    for step in self.steps():
      try:
        self._kept.losses[step] = self.record(step)['validation_loss']
      except CorruptCheckpoint:
        pass  # reading it raises the error again

  def steps(self):
    """Numbers of what lies in the directory, in order; it may be damaged."""
    names = (path.name for path in self.directory.iterdir())
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))

  def record(self, step):
    """What `save` was given, and `validation_loss`. Raises Damaged."""
    if not (self.directory / str(step) / 'record').is_dir():
      raise CorruptCheckpoint('it is no checkpoint of a run')
    record = self._read(step, 'record', ocp.args.JsonRestore(), 'its record')
    whole = isinstance(record, dict) and record.pop('sha256_of_record', None)
    if whole != checksum.of_json(record):
      raise CorruptCheckpoint('its record is not what was saved')
    return record

  def save(self, step, state, batches, record, validation_loss):
    """Starts saving; returns when `state` may be overwritten.

    Raises:
      UserError: this one, or the one before, cannot be written.
    """
    import grain

    record = record | {
      'validation_loss': validation_loss,
      'checksums': jax.tree.map(int, jax.device_get(checksum.of_arrays(state))),
      'batches': checksum.of_json(batches.get_state()),
    }
    items = ocp.args.Composite(
      state=ocp.args.StandardSave(state),
      data=grain.checkpoint.CheckpointSave(batches),
      record=ocp.args.JsonSave(record | {'sha256_of_record': checksum.of_json(record)}),
    )
    self.wait()
    self._saving = step
    self._kept.losses[step] = validation_loss
    with self._writing():
      self._check_writable()
      self._manager.save(step, args=items, force=True)  # whatever Orbax's policies say

  def restore(self, step, abstract_state, batches=None, *, check):
    """What was saved after `step`.

    Args:
      step: a number of `steps`.
      abstract_state: shapes, dtypes and shardings of the state.
      batches: an iterator that goes on from where it was saved.
      check: a function of the record; it raises UserError if the run is not of that plan.

    Raises:
      Damaged: it cannot be read, or is not what was saved.
    """
    record = self.record(step)
    check(record)
    state = self._read(step, 'state', ocp.args.StandardRestore(abstract_state), 'its arrays')
    check_sums(state, record)
    if batches is not None:
      import grain

      self._read(step, 'data', grain.checkpoint.CheckpointRestore(batches), 'its place in the data')
      if checksum.of_json(batches.get_state()) != record['batches']:
        raise CorruptCheckpoint('its place in the data is not what was saved')
    return Restored(step, state, record)

  def weights(self, step, record, shapes):
    """The arrays of the weights `shapes`, a tree, alone. Raises Damaged."""
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

  def find(self, which, read):
    """`read(step)` of the checkpoint 'newest', 'best', or of a step as text.

    The newest is the newest that is whole; None if there are none at all.

    Raises:
      UserError: there is no such checkpoint, or it is not whole; or some are there, and none is.
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
    there = f'saved steps are {", ".join(map(str, steps))}; newest and best name one of them too'
    if step not in steps:
      raise UserError(f'--checkpoint={which}: {self.directory} has none; {there}')
    try:
      return read(step)
    except CorruptCheckpoint as error:
      raise UserError(f'--checkpoint={which}: {step} is damaged: {error}; {there}') from error

  def quarantine(self, newest):
    """Moves what is numbered above `newest`, the step a run goes on from, out of its way."""
    place = self.directory.parent / 'quarantine'
    for step in self.steps():
      if step > newest:
        place.mkdir(exist_ok=True)
        targets = (place / f'{step}{suffix}' for suffix in ('', *(f'.{n}' for n in range(1, 999))))
        target = next(target for target in targets if not target.exists())
        (self.directory / str(step)).rename(target)
        print(f'checkpoint {step} is kept in {target}', file=sys.stderr)
    self._manager.reload()

  def newest(self):
    """The newest step that was saved or found readable; None if there is none."""
    return max((step for step in self.steps() if step in self._kept.losses), default=None)

  def wait(self):
    """Returns when what was to be saved is there. Raises UserError if it cannot be written."""
    with self._writing():
      self._manager.wait_until_finished()
      if self._saving is not None and self._saving in self.steps():
        (self.directory.parent / SAVED).touch()

  def _check_writable(self):
    """Raises OSError if no folder can be made; Orbax would wait minutes for it, and not say why."""
    probe = self.directory / 'probe'
    try:
      probe.mkdir(exist_ok=True)
      probe.rmdir()
    except OSError as error:
      raise OSError(error.errno, error.strerror, str(self.directory)) from error

  @contextlib.contextmanager
  def _writing(self):
    """Turns what Orbax raises where a disk is full or does not let it write into a UserError."""
    try:
      yield
    except Exception as error:
      if (number := system_error(error)) is None:
        raise
      newest = self.newest() if self.directory.is_dir() else None
      raise UserError(
        f'{self.directory}: checkpoint {self._saving} cannot be written: {os.strerror(number)}; '
        f'the newest that is there is {newest or "none"}; make room or let it be written, and give '
        'the same command again'
      ) from error

  def close(self):
    self.wait()
    self._manager.close()


@dataclasses.dataclass
class KeepNewestAndBest(policies.PreservationPolicy):
  """The newest checkpoints and the best; and whatever is not known to be a checkpoint of ours.

  Not Orbax's `max_to_keep` with a `best_fn`: that deletes the newest, and a run's progress with it.
  """

  newest: int  # how many
  losses: dict[int, float | None]  # validation loss of each step; None: it was not validated

  def best(self, steps):
    """The one of `steps` with the lowest validation loss; None if none was validated."""
    validated = [step for step in steps if self.losses.get(step) is not None]
    return min(validated, key=self.losses.get, default=None)

  def should_preserve(self, checkpoints, *, context):
    ours = [info.step for info in checkpoints if info.step in self.losses]
    kept = {*ours[-self.newest :], self.best(ours)}
    return [info.step in kept or info.step not in ours for info in checkpoints]


def check_sums(arrays, record, under=''):
  """Raises Damaged if an array's checksum is not the one in the record, named with a prefix."""
  sums = jax.device_get(checksum.of_arrays(arrays))
  changed = [name for name in sums if record['checksums'][under + name] != sums[name]]
  if changed:
    raise CorruptCheckpoint(f'its array {under}{changed[0]} is not what was saved')


def check_name(directory):
  """Raises UserError for a folder in which Orbax would write what nobody can read again."""
  strange = [c for c in '*?[' if c in str(directory)]  # it takes them for patterns
  strange += ['a byte that is no UTF-8'] * any('\ud800' <= c <= '\udfff' for c in str(directory))
  if strange:
    raise UserError(
      f'{directory}: Orbax cannot save where the name of a folder has {" or ".join(strange)}; '
      'choose another --workdir'
    )


def system_error(error):
  """The system's number of what went wrong; None if it was not the system."""
  # TensorStore's messages hold it: … No space left on device [os_error_code='28' …
  code = re.search(r"os_error_code='(\d+)'", str(error))
  return int(code[1]) if code else getattr(error, 'errno', None)


@contextlib.contextmanager
def reading(what):
  """Turns what reading raises into Damaged; but what gives out for a while is no damage."""
  try:
    yield
  except (MemoryError, jax.errors.JaxRuntimeError):
    raise
  except Exception as error:
    cause = error.__cause__ or error  # Orbax tells where, and TensorStore why
    if (number := system_error(cause)) not in CORRUPTION_ERRNOS:
      raise OSError(number, os.strerror(number), what) from error
    why = f'{type(cause).__name__}: {one_line(cause)[:120]}'
    raise CorruptCheckpoint(f'{what} cannot be read ({why})') from error
