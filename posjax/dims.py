"""The axis letters of posjax, the same in names, einsums, shapes and shardings.

  B batch   T queries   S keys   N heads   K key/value heads   G = N/K   H head size   D width
  F hidden width of the MLP   V vocabulary   R rows of a table   P position axes   L layers
  C channels of an encoding

The name of an array ends in its letters, `x_BTD`. The letters of a weight, `query_DNH`, also
determine its shape (here) and its sharding (`sharding.py`). A weight whose letters begin with L has
one slice per layer.
"""

import dataclasses
from collections.abc import Callable

import jax
from flax import linen as nn


@dataclasses.dataclass(frozen=True)
class Dims:
  """Sizes of a model's axes, and what else its encodings need to know about it."""

  N: int
  K: int
  H: int
  D: int = 0
  F: int = 0
  V: int = 0
  L: int = 0  # 0: within one layer, whose weights have no axis L
  P: int = 1
  query_scale: float = 0.0  # 0: H**-0.5
  causal: bool = True  # whether a token sees no later token

  @property
  def scale(self) -> float:
    """The softmax scale, already applied to a query when an encoding sees it."""
    return self.query_scale or self.H**-0.5


def letters(name: str) -> str:
  """Returns the axis letters of a name: 'DNH' for 'query_DNH'; '' for 'scale', which has none."""
  suffix = name.rpartition('_')[2]
  return suffix if suffix.isalpha() and suffix.isupper() else ''


def is_matrix(name: str) -> bool:
  """Returns whether a weight is a matrix of products: 'query_DNH' and 'kernel', not its bias."""
  return name == 'kernel' or (len(letters(name)) > 1 and '_bias_' not in name)


def weight(
  module: nn.Module, name: str, init: Callable[..., jax.Array], dims: Dims, **sizes: int
) -> jax.Array:
  """Returns the float32 parameter `name` of `module`; `sizes` has the letters not in `dims`."""
  sizes = dataclasses.asdict(dims) | sizes
  axes = letters(name)
  for letter in axes:
    if letter not in sizes:
      raise ValueError(f'weight {name}: size of {letter} unknown; pass it: weight(…, {letter}=…)')
  if axes.startswith('L'):
    axes = axes[1:]
    if dims.L:
      init, axes = _for_each_layer(init), f'L{axes}'
  return module.param(name, init, tuple(sizes[letter] for letter in axes), 'float32')


def _for_each_layer(init):
  """Draws each layer's weight separately, so that `init` sees the shape and fan-in of one layer."""

  def stacked(rng, shape, dtype):
    rngs = jax.random.split(rng, shape[0])
    return jax.vmap(lambda rng: init(rng, shape[1:], dtype))(rngs)

  return stacked
