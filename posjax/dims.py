"""The letters of posjax: one for each kind of axis, in names, einsums, shapes and shardings alike.

  B batch   T queries   S keys   N heads   K key/value heads   G = N/K   H head size   D width
  F hidden width of the MLP   V vocabulary   R rows of a table   P position axes   L layers
  C channels of an encoding's own

An array's name ends in its letters, `x_BTD`. So does a weight's, `query_DNH`, and there the letters
alone give its shape (here) and its sharding (`sharding.py`). A weight whose letters begin with L is
one for each layer.
"""

import dataclasses

import jax


@dataclasses.dataclass(frozen=True)
class Dims:
  """Sizes of a model's axes."""

  N: int
  K: int
  H: int
  D: int = 0
  F: int = 0
  V: int = 0
  L: int = 0  # 0: within one layer, where weights have no axis of layers

  @property
  def scale(self):
    """The factor that a query already carries when an encoding sees it."""
    return self.H**-0.5


def letters(name):
  """'query_DNH' -> 'DNH'; '' for a name that ends in no letters, such as 'scale'."""
  suffix = name.rpartition('_')[2]
  return suffix if suffix.isalpha() and suffix.isupper() else ''


def weight(module, name, init, dims, **sizes):
  """Makes `module`'s float32 parameter `name`; `sizes` are letters that `dims` does not hold."""
  sizes = dataclasses.asdict(dims) | sizes
  axes = letters(name)
  for letter in axes:
    if letter not in sizes:
      raise ValueError(f'weight {name}: what size has {letter}? Give it: weight(…, {letter}=…)')
  if axes.startswith('L'):
    axes = axes[1:]
    if dims.L:
      init, axes = _for_each_layer(init), f'L{axes}'
  return module.param(name, init, tuple(sizes[letter] for letter in axes), 'float32')


def _for_each_layer(init):
  """Draws each layer's weight apart: `init` sees the shape of one, whose fan-in is its own."""

  def stacked(rng, shape, dtype):
    rngs = jax.random.split(rng, shape[0])
    return jax.vmap(lambda rng: init(rng, shape[1:], dtype))(rngs)

  return stacked
