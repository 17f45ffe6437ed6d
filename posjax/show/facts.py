"""All numbers shown for one layer of a model; `words` and `picture` display them.

`Facts` are those of every layer, `Line` those on a text; grid.py has those on a grid.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from posjax.attention import choose
from posjax.attention.fused import unsupported_hook
from posjax.dims import Dims, letters
from posjax.encodings import arguments
from posjax.encodings.core.declarations import represents
from posjax.encodings.core.encoding import Encoding
from posjax.errors import UserError
from posjax.models.pattern import Layer
from posjax.models.transformer import Transformer
from posjax.show import probe
from posjax.show.frequencies import frequencies

EXTENSION = 4  # length of the longer text, in trained lengths
MOST_ROWS = 128  # queries in a picture


class Curves(NamedTuple):
  """The bias, logit or log weight of each key for the last query of a text of equal tokens.

  Attributes:
    length: tokens of the text.
    by_head: [N, length], indexed by distance: 0 is the query's own token. NaN: not seen.
  """

  length: int
  by_head: np.ndarray


class Unscaled(NamedTuple):
  """The results if the argument `scaling` were empty."""

  theta: np.ndarray
  extended: Curves


class Weight(NamedTuple):
  name: str
  shape: tuple[int, ...]  # of all layers together
  layered: bool  # whether each layer has its own


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
  """The numbers of one layer, wherever its tokens are.

  Attributes:
    layer: its entry in the model's pattern: the name in the config, window and chunk.
    encoding: the module, with dims.
    kind: what is shown of pairs of tokens: 'bias', 'mean logit' or 'log weight'.
    lengths: tokens of the rows shown, the trained length first.
    reads: whether its features depend on the content of the tokens.
    adds: whether it adds a term to keys.
    weights: the weights, over all layers.
    flops: FLOPs per token, in each layer and once for all layers.
    plain_flops: FLOPs per token of a layer's attention without an encoding.
    drawn: how many random draws of the positions are averaged; 1: no position is random.
    dtype: the dtype of the model's computation.
    values: how the weights were drawn, 'initial' or 'normal'.
  """

  layer: Layer
  encoding: Encoding
  kind: str
  lengths: tuple[int, ...]
  reads: bool
  adds: bool
  weights: tuple[Weight, ...]
  flops: tuple[float, float]
  plain_flops: float
  drawn: int
  dtype: str
  values: str

  @property
  def of_heads(self) -> list[np.ndarray]:
    """The arrays that are shown of each head, [N, ...] each."""
    raise NotImplementedError

  @property
  def heads(self) -> dict[str, int]:
    """Returns {label: index} of the heads to show; one label if all heads are alike."""
    alike = all(np.allclose(x, x[:1], 1e-9, 1e-9, equal_nan=True) for x in self.of_heads)
    N = len(self.of_heads[0])
    return {'all heads' if N > 1 else 'its head': 0} if alike else {
      f'head {n + 1}': n for n in range(N)
    }

  @property
  def choices(self) -> dict[int, tuple[str, str]]:
    """Returns the choice of 'auto' at each length, with its reason: {length: (name, reason)}."""
    return {T: choose(T, T, self.encoding, self.dtype) for T in self.lengths}

  @property
  def unsupported_hook(self) -> str:
    return unsupported_hook(self.encoding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line(Facts):
  """The numbers of a layer on a text.

  Attributes:
    trained: `Curves` at the trained length.
    extended: `Curves` at EXTENSION times that length; None if the encoding has fewer positions.
    rows: the queries in the picture.
    picture: the same quantity for all pairs, [N, len(rows), length].
    theta: frequencies, radians per position, [C].
    unscaled: the results without scaling; None if the encoding has no scaling.
  """

  trained: Curves
  extended: Curves | None
  rows: np.ndarray
  picture: np.ndarray
  theta: np.ndarray
  unscaled: Unscaled | None

  @property
  def of_heads(self) -> list[np.ndarray]:
    curves = self.trained, self.extended
    return [self.picture, *(curve.by_head for curve in curves if curve)]

  @property
  def moved(self) -> float | None:
    """The largest change within the trained length in the longer text; None without that text."""
    if not self.extended:
      return None
    change = self.extended.by_head[:, : self.trained.length] - self.trained.by_head
    return float(np.nanmax(np.abs(change), initial=0))


def gather(
  model: Transformer, layer: Layer, *, length: int, seed: int, values: str = 'initial'
) -> Line:
  """Returns the numbers of one kind of layer of a model, on a text.

  Args:
    model: a `Transformer`.
    layer: an entry of its pattern.
    length: the trained length.
    seed: of the weights and of random positions.
    values: how to draw the weights, see `probe.first_weights`.

  Raises:
    UserError: no query sees a key.
  """
  encoding, weights = with_weights(model, layer, seed, values)
  at, longer = probe.at_start(length), EXTENSION * length
  fits = represents(encoding.limit, (longer,))
  rows = np.unique(np.linspace(0, length - 1, min(length, MOST_ROWS)).round().astype(int))
  bare, full = probe.logits(encoding, weights, at, rows, layer, seed=seed)
  last = probe.at_start(longer), [longer - 1], layer
  far = probe.logits(encoding, weights, *last, train=False, seed=seed) if fits else None
  kind, picture, far = judged(encoding, bare, full, far)
  check_seen(layer, picture)
  return Line(
    trained=Curves(length, picture[:, -1, ::-1]),
    extended=None if far is None else Curves(longer, far[:, -1, ::-1]),
    rows=rows, picture=picture,
    theta=frequencies(encoding, weights, longer if fits else length),
    unscaled=unscaled(encoding, weights, kind, longer, layer, seed),
    **of_layer(model, layer, encoding, weights, (length, longer)), kind=kind, values=values,
  )


def with_weights(
  model: Transformer, layer: Layer, seed: int, values: str
) -> tuple[Encoding, Any]:
  """Returns the encoding of a layer, with dims, and weights, see `probe.first_weights`."""
  encoding = model.pattern.by_name[layer.encoding].with_dims(model.dims)
  return encoding, probe.first_weights(encoding, seed, values)


def check_seen(layer: Layer, shown: np.ndarray) -> None:
  """Raises UserError if all numbers are NaN."""
  if np.isnan(shown).all():
    raise UserError(f'{layer.encoding}: no query sees a key, so there is nothing to show; it needs '
                    'a larger model.windows, model.chunks or train.length')


def of_layer(
  model: Transformer, layer: Layer, encoding: Encoding, weights: Any, lengths: tuple[int, ...]
) -> dict[str, Any]:
  """Returns the fields of `Facts` that no picture decides."""
  of_all_layers = model.pattern.all_layers(model.groups)[layer.encoding]
  return dict(
    layer=layer, encoding=encoding, lengths=lengths,
    reads=probe.reads(encoding), adds=probe.adds(encoding),
    weights=tuple(weights_of(of_all_layers)),
    flops=own_flops(encoding, weights, lengths[0]),
    plain_flops=plain_flops(model.dims, lengths[0])[0],
    drawn=probe.draws(encoding, lengths[0]), dtype=model.dtype,
  )


def judged(
  encoding: Encoding, bare: np.ndarray, full: np.ndarray,
  far: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[str, np.ndarray, np.ndarray | None]:
  """Returns (kind, picture, far): logits without content if content just adds 1 to them."""
  pairs = [(bare, full)] + ([far] if far else [])
  adds = all(np.allclose(b + 1, f, 1e-9, 1e-9, equal_nan=True) for b, f in pairs)
  if encoding.normalizer == 'none':
    kind, which = 'log weight', 1
  else:
    kind, which = ('bias', 0) if adds else ('mean logit', 1)
  return kind, (bare, full)[which], far and far[which]


@functools.cache
def plain_flops(dims: Dims, length: int) -> tuple[float, float]:
  """Returns `probe.flops` without an encoding."""
  return probe.flops(Encoding().with_dims(dims), {}, length)


def own_flops(encoding: Encoding, weights: Any, length: int) -> tuple[float, float]:
  """Returns the FLOPs that the encoding adds: (in each layer, once)."""
  with_it, without = probe.flops(encoding, weights, length), plain_flops(encoding.dims, length)
  return tuple(np.subtract(with_it, without).tolist())


def unscaled(
  encoding: Encoding, weights: Any, kind: str, length: int, layer: Layer, seed: int
) -> Unscaled | None:
  """Returns `Unscaled` for a text of `length` tokens; None if no part has a scaling."""
  parts = probe.parts_of(encoding)
  if not any(arguments(part).get('scaling') for part in parts):
    return None
  plain = [
    part.clone(scaling=arguments(type(part))['scaling']) if 'scaling' in arguments(part) else part
    for part in parts
  ]
  whole = plain[0] if len(plain) == 1 else encoding.clone(parts=tuple(plain))
  last = probe.at_start(length), [length - 1], layer
  bare, full = probe.logits(whole, weights, *last, train=False, seed=seed)
  logits = bare if kind == 'bias' else full
  return Unscaled(frequencies(whole, weights, length), Curves(length, logits[:, -1, ::-1]))


def weights_of(encoding: Encoding) -> Iterator[Weight]:
  """Yields the `Weight`s of an encoding whose dims cover all layers."""
  tree = jax.eval_shape(encoding.init_weights, jax.random.key(0))
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = '/'.join(key.key for key in path)
    yield Weight(name, leaf.shape, letters(path[-1].key).startswith('L'))
