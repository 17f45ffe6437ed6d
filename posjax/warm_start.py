"""Starting from the weights of another run: the config's section `init`.

Only weights are taken, never moments, steps or the place in the data. A run's identity holds what
it took (`init.source`), not where that lay, so a run that has begun goes on without its source.
"""

import difflib

import jax

from posjax import optimizer, state, transfer
from posjax.errors import UserError
from posjax.runtime import checksum


def identify(init):
  """Sets `init.source`, the digest of the checkpoint that a run is to start from.

  Raises:
    UserError: there is no such checkpoint, or none is whole.
  """
  init.source = digest(state.record(init.run, init.checkpoint))


def digest(record):
  return checksum.of_json(record)[:12]


def check(init, model, shapes):
  """Raises UserError for a pattern of `init` that names no weight, or if all weights are frozen."""
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


def take(init, model, mesh, params):
  """The first weights `params` with what the run `init.run` has for them; prints what that is.

  Raises:
    UserError: it has nothing for them, or is not what it was when the config was made.
  """
  saved = state.read(init.run, init.checkpoint, mesh)
  if digest(saved.record) != init.source:
    raise UserError(
      f'init.run = {init.run}: checkpoint {saved.step} is not the one with the digest '
      f'{init.source}; give the same command again to start from it'
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


def table(init, plan, dropped):
  """A line for each array: its name and what becomes of it."""
  frozen = optimizer.patterns(init.frozen)
  rows = [(each.leaf, f'{each}{", frozen" * each.leaf.matches(frozen)}') for each in plan]
  names = {leaf: str(leaf) for leaf, _ in rows + dropped}
  width = max(map(len, names.values()))
  return '\n'.join(f'  {names[leaf]:<{width}}  {text}' for leaf, text in rows + dropped)
