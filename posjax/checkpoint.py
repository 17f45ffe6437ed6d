"""Checkpoints: state, data iterator, and a record of what they belong to. One save, one restore.

Orbax writes in the background and renames when whole, so a killed run leaves its former checkpoints
intact. The newest ones are kept, and the best by validation loss besides.
"""

import pathlib

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from posjax.config import UserError

# Each checkpoint holds: state (arrays), data (Grain's iterator, one file per host), record (JSON).
ITEMS = ('state', 'data', 'record')


class Checkpoints:
  """Those of one run, in `workdir`/checkpoints; `keep` newest ones and the best.

  Raises:
    UserError: there are none, and no run is to begin here (`create`).
  """

  def __init__(self, workdir, keep, *, create=False):
    def validation_loss(metrics):
      return metrics['validation_loss']

    self.directory = pathlib.Path(workdir).absolute() / 'checkpoints'
    if not create and not self.directory.is_dir():
      raise UserError(f'{workdir}: no checkpoint is here; train first, or name its --workdir')
    # Not `max_to_keep` with a `best_fn`: that deletes the newest, and with it the run's progress.
    policy = policies.AnyPreservationPolicy([
      policies.LatestN(keep),
      policies.BestN(get_metric_fn=validation_loss, reverse=True, n=1),
    ])
    self._manager = ocp.CheckpointManager(
      self.directory,
      item_names=ITEMS,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policy, best_fn=validation_loss, best_mode='min'
      ),
    )

  def newest(self):
    """The newest step that is saved; None if there is none."""
    return self._manager.latest_step()

  def find(self, which):
    """The step that 'newest', 'best' or a number as text names.

    Raises:
      UserError: there is none.
    """
    steps = sorted(self._manager.all_steps())
    if not steps:
      raise UserError(f'{self.directory}: no checkpoint is here yet')
    if which == 'newest':
      return steps[-1]
    if which == 'best':
      return self._manager.best_step()
    if which.isdecimal() and int(which) in steps:
      return int(which)
    raise UserError(
      f'--checkpoint={which}: saved steps are {", ".join(map(str, steps))}; '
      'newest and best name one of them too'
    )

  def record(self, step):
    items = ocp.args.Composite(record=ocp.args.JsonRestore())
    return self._manager.restore(step, args=items).record

  def save(self, step, state, batches, record, validation_loss):
    """Starts saving; returns when `state` may be overwritten."""
    import grain

    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        data=grain.checkpoint.CheckpointSave(batches),
        record=ocp.args.JsonSave(record),
      ),
      metrics={'validation_loss': validation_loss},
    )

  def restore(self, step, abstract_state, batches=None):
    """The state of `step` in the shardings of `abstract_state`; `batches` goes on from there."""
    items = dict(state=ocp.args.StandardRestore(abstract_state))
    if batches is not None:
      import grain

      items['data'] = grain.checkpoint.CheckpointRestore(batches)
    return self._manager.restore(step, args=ocp.args.Composite(**items)).state

  def close(self):
    """Waits until what was saved is there."""
    self._manager.wait_until_finished()
    self._manager.close()
