"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with warm-up, decay and clipping."""

import fnmatch
from collections.abc import Sequence
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from posjax.dims import is_matrix


def make_schedule(
  steps: int, *, learning_rate: float, warmup: int, schedule: str, decay: float, final: float
) -> optax.Schedule:
  """Returns a learning rate schedule: linear warm-up, then 'cosine' or 'wsd'.

  Cosine: arXiv 1608.03983. 'wsd' is warm-up, stable, linear decay: arXiv 2404.06395.
  """
  end = learning_rate * final
  if schedule == 'cosine':
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, steps, end)
  cooling = round(decay * steps)
  return optax.join_schedules(
    [
      optax.linear_schedule(0.0, learning_rate, warmup),
      optax.constant_schedule(learning_rate),
      optax.linear_schedule(learning_rate, end, cooling),
    ],
    boundaries=[warmup, steps - cooling],
  )


def make_optimizer(
  schedule: optax.Schedule, *, b1: float, b2: float, eps: float, weight_decay: float, clip: float
) -> optax.GradientTransformation:
  return optax.chain(
    optax.clip_by_global_norm(clip),
    optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=is_decayed),
  )


def from_config(config: ConfigDict) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """Returns (optimizer, schedule) of a resolved config; `init.frozen` weights have no moments."""
  arguments = dict(config.optimizer)
  keys = ('learning_rate', 'warmup', 'schedule', 'decay', 'final')
  schedule = make_schedule(config.train.steps, **{key: arguments.pop(key) for key in keys})
  adamw = make_optimizer(schedule, **arguments)
  if frozen := patterns(config.init.frozen):
    adamw = optax.masked(adamw, lambda params: jax.tree.map(lambda x: not x, where(params, frozen)))
  return adamw, schedule


def patterns(words: str) -> tuple[str, ...]:
  """Returns the patterns in a config value such as 'encoding/*,table_VD', as a tuple."""
  return tuple(filter(None, words.split(',')))


def named(name: str, patterns: Sequence[str]) -> bool:
  """Returns whether a weight's name, 'layers/block_0/mlp/up_DF', matches any pattern."""
  return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def where(params: Any, patterns: Sequence[str]) -> Any:
  """Returns a tree of booleans: whether each weight matches any pattern."""
  name = lambda path: '/'.join(key.key for key in path)
  return jax.tree_util.tree_map_with_path(lambda path, _: named(name(path), patterns), params)


def freeze(params: Any, patterns: Sequence[str]) -> Any:
  """Returns the weights, with gradients stopped for those that match any pattern."""
  stop = lambda x, frozen: jax.lax.stop_gradient(x) if frozen else x
  return jax.tree.map(stop, params, where(params, patterns))


def of_encoding(path: Sequence[Any]) -> bool:
  """Returns whether the weight at a path of a model's tree belongs to an encoding."""
  section, *rest = (key.key for key in path)
  return section in ('encoding', 'cross') or (section == 'encoder' and rest[0] == 'encoding')


def is_decayed(params: Any) -> Any:
  """Returns the weight decay mask: True for matrices; False for scalars, norms and encodings."""

  def matrix(path, _):
    return not of_encoding(path) and is_matrix(path[-1].key)

  return jax.tree_util.tree_map_with_path(matrix, params)
