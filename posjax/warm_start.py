"""Starting from the weights of another run: the config's section `init`.

Only weights are taken, never optimizer state, steps or the data position. A run's identity includes
the digest of its source (`init.source`), not its path, so that a run resumes without its source.
"""

import difflib
from typing import Any

import jax
from ml_collections import ConfigDict

from posjax import optimizer, state, transfer
from posjax.errors import UserError
from posjax.models.transformer import Transformer
from posjax.runtime import checksum


def identify(init: ConfigDict) -> None:
  """Sets `init.source`, the digest of the checkpoint that a run starts from.

  Raises:
    UserError: there is no such checkpoint, or it is corrupt.
  """
  init.source = digest(state.record(init.run, init.checkpoint))


def digest(record: dict[str, Any]) -> str:
  return checksum.of_json(record)[:12]


def check(init: ConfigDict, model: Transformer, shapes: Any) -> None:
  """Raises UserError if a pattern of `init` matches no weight, or if all weights are frozen."""
  names = [str(leaf) for leaf in transfer.leaves(model, shapes)]
  for key in ('fresh', 'frozen'):
    for pattern in optimizer.patterns(init[key]):
      if not any(optimizer.named(name, (pattern,)) for name in names):
        close = difflib.get_close_matches(pattern, names, 1)
        raise UserError(
          f'init.{key} = {init[key]}: no weight is called {pattern}'
          + (f'; did you mean {close[0]}?' if close else '') + f' (weights: {", ".join(names)})'
        )
  if all(optimizer.named(name, optimizer.patterns(init.frozen)) for name in names):
    raise UserError(f'init.frozen = {init.frozen}: no weight is left to train')


def take(init: ConfigDict, model: Transformer, mesh: jax.sharding.Mesh, params: Any) -> Any:
  """Returns the initial weights `params` with those of run `init.run`; prints a table of both.

  Raises:
    UserError: no weight fits, or the checkpoint has changed since `identify`.
  """
  saved = state.read(init.run, init.checkpoint, mesh)
  if digest(saved.record) != init.source:
    raise UserError(
      f'init.run = {init.run}: checkpoint {saved.step} does not have the digest {init.source}; '
      'repeat the command to start from it'
    )
  source = transfer.leaves(saved.model, saved.params)
  plan = transfer.plan(source, transfer.leaves(model, params), optimizer.patterns(init.fresh))
  if not any(any(each.rows) for each in plan):
    raise UserError(
      f'init.run = {init.run}: it has no weight for this model: {plan[0].leaf} is {plan[0]}'
    )
  print(f'weights    from {init.run}, step {saved.step}')
  print(table(init, plan, transfer.dropped(source, plan)), flush=True)
  places = jax.tree.map(lambda x: x.sharding, params)
  fill = jax.jit(lambda params, old: transfer.fill(plan, params, old), out_shardings=places)
  return fill(params, saved.params)


def table(
  init: ConfigDict, plan: list[transfer.Taken], dropped: list[tuple[transfer.Leaf, str]]
) -> str:
  """Returns a line for each array: its name, and whether it is taken, fresh, frozen or dropped."""
  frozen = optimizer.patterns(init.frozen)
  rows = [(each.leaf, f'{each}{", frozen" * each.leaf.matches(frozen)}') for each in plan]
  names = {leaf: str(leaf) for leaf, _ in rows + dropped}
  width = max(map(len, names.values()))
  return '\n'.join(f'  {names[leaf]:<{width}}  {text}' for leaf, text in rows + dropped)
