"""The encoding, window and chunk of each layer, and where their weights and states are.

Layers may differ: rotary layers with a window between layers that see all tokens without positions
(RNoPE-SWA, Yang et al. 2025, arXiv 2501.18795), or other bases in local than in global layers.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from posjax.dims import letters
from posjax.encodings import Bound, Encoding, find, name_of, names
from posjax.encodings.core.chain import counted
from posjax.encodings.core.declarations import Limit, each, narrowest
from posjax.errors import UserError


class Layer(NamedTuple):
  """A layer's encoding by name, keys that a query sees, and positions of a chunk; 0 means all."""

  encoding: str
  window: int
  chunk: int
  shift: int  # of the chunks


@dataclasses.dataclass(frozen=True)
class Pattern:
  """Encoding, window, chunk and its shift of each layer, tiled over the depth.

  A plain dataclass, so that Linen does not adopt the encodings as submodules. All their weights are
  in params['encoding'][name], so that replacing an encoding replaces one subtree. `names` are the
  names of the encodings; by default each has the name of its file, and a second setting of the same
  encoding is 'rope_2'.
  """

  encodings: tuple[Encoding, ...]
  windows: tuple[int, ...] = (0,)
  names: tuple[str, ...] = ()
  chunks: tuple[int, ...] = (0,)
  shifts: tuple[int, ...] = (0,)

  def __len__(self) -> int:
    return max(map(len, (self.encodings, self.windows, self.chunks, self.shifts)))

  @property
  def by_name(self) -> dict[str, Encoding]:
    """The encodings by name, each once."""
    named = {}
    for i, encoding in enumerate(self.encodings):
      alike = [other for other in named.values() if name_of(other) == name_of(encoding)]
      if self.names:
        named[self.names[i]] = encoding
      elif encoding not in alike:
        named[name_of(encoding) + (f'_{len(alike) + 1}' if alike else '')] = encoding
    return named

  @property
  def shift_invariant(self) -> bool:
    return not any(self.chunks) and all(e.shift_invariant for e in self.encodings)

  @property
  def limits(self) -> dict[str, Limit]:
    """The positions that the encoding of each layer can represent, by name.

    Within a chunk that fits, differences of positions do, wherever the chunk is.
    """
    found = {name: None for name in self.by_name}
    for own in self.layers():
      encoding = self.by_name[own.encoding]
      limit, chunk = encoding.limits, own.chunk
      if not (encoding.shift_invariant and limit and 0 < chunk <= min(each(limit, axes=1))):
        found[own.encoding] = limit
    return found

  @property
  def limit(self) -> Limit:
    """The positions that all encodings can represent, on all axes or on each; None: any."""
    return narrowest(self.limits.values())

  def layers(self) -> list[Layer]:
    """Returns a `Layer` for each layer; shorter fields are tiled to the length of the pattern."""
    names = self.names or [
      next(name for name, other in self.by_name.items() if other == encoding)
      for encoding in self.encodings
    ]
    fields = names, self.windows, self.chunks, self.shifts
    return [*map(Layer, *(values * (len(self) // len(values)) for values in fields))]

  def visible_pairs(self, T: int, causal: bool, axes: int = 1) -> int:
    """Returns the visible pairs of a query and a key in a row of T tokens, over all its layers."""
    return sum(pairs(T, own.window, own.chunk**axes, causal) for own in self.layers())

  def all_layers(self, groups: int) -> dict[str, Encoding]:
    """Returns {name: encoding}, each with dims for the weights of all its layers."""
    names = [layer.encoding for layer in self.layers()]
    return {
      name: encoding.with_dims(
        dataclasses.replace(encoding.dims, L=groups * names.count(name))
      ) for name, encoding in self.by_name.items()
    }

  def init_weights(self, rng: jax.Array, groups: int) -> dict[str, Any]:
    return {
      name: encoding.init_weights(jax.random.fold_in(rng, i))
      for i, (name, encoding) in enumerate(self.all_layers(groups).items())
    }

  def init_states(
    self, batch: int, capacity: int, groups: int, *, train: bool, rng: jax.Array | None
  ) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Returns the states of the sequence by name, and of each layer, leaves [groups, ...].

    All encodings draw from the same `rng`, so that equal encodings draw equal values.
    """
    states = {
      name: encoding.init_state(batch, capacity, train, rng)
      for name, encoding in self.by_name.items()
    }

    def stack(x):
      return jnp.broadcast_to(x, (groups, *x.shape))

    layers = tuple(jax.tree.map(stack, states[own.encoding].layer) for own in self.layers())
    return {name: state.sequence for name, state in states.items()}, layers

  def in_layers(
    self, weights: dict[str, Any], groups: int
  ) -> tuple[tuple[Bound, ...], tuple[Any, ...]]:
    """Returns a `Bound` for each layer of the pattern, without the weights of single layers, and
    these weights, leaves [groups, ...], which `with_layer` adds."""
    names = [layer.encoding for layer in self.layers()]
    bound, layered = [], []
    for i, name in enumerate(names):
      shared, own = split(weights[name])
      bound.append(Bound(self.by_name[name], shared))
      # The layers of a name are in order in its weights: by group, then by layer of the group.
      turn, count = names[:i].count(name), names.count(name)
      layered.append(jax.tree.map(
        lambda w, n=count, i=turn: w.reshape(groups, n, *w.shape[1:])[:, i], own
      ))
    return tuple(bound), tuple(layered)


def pairs(T: int, window: int, chunk: int, causal: bool) -> int:
  """Returns the number of visible pairs of T tokens; a window counts keys on each visible side."""
  if chunk:
    return T // chunk * pairs(chunk, window, 0, causal) + pairs(T % chunk, window, 0, causal)
  window = min(window or T, T)
  one_side = window * (window + 1) // 2 + (T - window) * window
  return one_side if causal else 2 * one_side - T


def split(weights: Any) -> tuple[Any, Any]:
  """Splits weights into those that layers share and those of single layers; None for the rest."""

  def only(layered):
    def keep(path, leaf):
      return leaf if letters(path[-1].key).startswith('L') == layered else None

    return jax.tree_util.tree_map_with_path(keep, weights)

  return only(False), only(True)


def with_layer(bound: Bound, layered: Any) -> Bound:
  """Returns a `Bound` with the weights of one layer added."""
  merge = lambda shared, own: own if shared is None else shared
  weights = jax.tree.map(merge, bound.weights, layered, is_leaf=lambda x: x is None)
  return bound.replace(weights=weights)


def check_axes(name: str, encoding: Encoding, axes: int) -> None:
  """Raises UserError, naming alternatives, if an encoding cannot read positions of `axes` axes."""
  if encoding.axis is None and encoding.axes not in (None, math.inf, axes):
    able = [other for other in names() if find(other).axes in (None, math.inf, axes)]
    raise UserError(
      f'encoding.{name}: it reads {counted(encoding.axes)}, but the positions have {axes}; '
      f'encodings for {axes}: {", ".join(able)}'
    )
