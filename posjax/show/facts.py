"""All numbers shown for one layer of a model; `words` and `picture` display them."""

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


@dataclasses.dataclass(frozen=True)
class Facts:
  """All numbers of one layer.

  Attributes:
    layer: its entry in the model's pattern: the name in the config, window and chunk.
    encoding: the module, with dims.
    kind: what the curves and the picture show: 'bias', 'mean logit' or 'log weight'.
    trained: `Curves` at the trained length.
    extended: `Curves` at EXTENSION times that length; None if the encoding has fewer positions.
    rows: the queries in the picture.
    picture: the same quantity for all pairs, [N, len(rows), length].
    theta: frequencies, radians per position, [C].
    unscaled: the results without scaling; None if the encoding has no scaling.
    reads: whether its features depend on the content of the tokens.
    adds: whether it adds a term to keys.
    weights: the weights, over all layers.
    flops: FLOPs per token, in each layer and once for all layers.
    plain_flops: FLOPs per token of a layer's attention without an encoding.
    drawn: how many random draws of the positions the curves average; 1: no position is random.
    dtype: the dtype of the model's computation.
    values: how the weights were drawn, 'initial' or 'normal'.
  """

  layer: Layer
  encoding: Encoding
  kind: str
  trained: Curves
  extended: Curves | None
  rows: np.ndarray
  picture: np.ndarray
  theta: np.ndarray
  unscaled: Unscaled | None
  reads: bool
  adds: bool
  weights: tuple[Weight, ...]
  flops: tuple[float, float]
  plain_flops: float
  drawn: int
  dtype: str
  values: str

  @property
  def heads(self) -> dict[str, int]:
    """Returns {label: index} of the heads to show; one label if all heads are alike."""
    shown = [self.picture, self.trained.by_head]
    shown += [self.extended.by_head] if self.extended else []
    alike = all(np.allclose(x, x[:1], 1e-9, 1e-9, equal_nan=True) for x in shown)
    N = len(self.picture)
    return {'all heads' if N > 1 else 'its head': 0} if alike else {
      f'head {n + 1}': n for n in range(N)
    }

  @property
  def moved(self) -> float | None:
    """The largest change within the trained length in the longer text; None without that text."""
    if not self.extended:
      return None
    change = self.extended.by_head[:, : self.trained.length] - self.trained.by_head
    return float(np.nanmax(np.abs(change), initial=0))

  @property
  def choices(self) -> dict[int, tuple[str, str]]:
    """Returns the choice of 'auto' at both lengths, with its reason: {length: (name, reason)}."""
    lengths = self.trained.length, EXTENSION * self.trained.length
    return {T: choose(T, T, self.encoding, self.dtype) for T in lengths}

  @property
  def unsupported_hook(self) -> str:
    return unsupported_hook(self.encoding)


def gather(
  model: Transformer, layer: Layer, *, length: int, seed: int, values: str = 'initial'
) -> Facts:
  """Returns the `Facts` of one kind of layer of a model.

  Args:
    model: a `Transformer`.
    layer: an entry of its pattern.
    length: the trained length.
    seed: of the weights and of random positions.
    values: how to draw the weights, see `probe.first_weights`.

  Raises:
    UserError: no query sees a key.
  """
  encoding = model.pattern.by_name[layer.encoding].with_dims(model.dims)
  weights = probe.first_weights(encoding, seed, values)
  here = dict(window=layer.window, chunk=layer.chunk, seed=seed)
  longer = EXTENSION * length
  fits = represents(encoding.limit, (longer,))
  rows = np.unique(np.linspace(0, length - 1, min(length, MOST_ROWS)).round().astype(int))
  bare, full = probe.logits(encoding, weights, rows, length, **here)
  far = probe.logits(encoding, weights, [longer - 1], longer, train=False, **here) if fits else None
  kind, picture, far = judged(encoding, bare, full, far)
  if np.isnan(picture).all():
    raise UserError(f'{layer.encoding}: no query sees a key, so there is nothing to show; it needs '
                    'a larger model.windows, model.chunks or train.length')
  return Facts(
    layer=layer, encoding=encoding, kind=kind,
    trained=Curves(length, picture[:, -1, ::-1]),
    extended=None if far is None else Curves(longer, far[:, -1, ::-1]),
    rows=rows, picture=picture,
    theta=probe.frequencies(encoding, weights, longer if fits else length),
    unscaled=unscaled(encoding, weights, kind, longer, here),
    reads=probe.reads(encoding), adds=probe.adds(encoding),
    weights=tuple(weights_of(model.pattern.all_layers(model.groups)[layer.encoding])),
    flops=own_flops(encoding, weights, length), plain_flops=plain_flops(model.dims, length)[0],
    drawn=probe.draws(encoding, length), dtype=model.dtype, values=values,
  )


def judged(
  encoding: Encoding, bare: np.ndarray, full: np.ndarray, far: tuple[np.ndarray, np.ndarray] | None
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
  encoding: Encoding, weights: Any, kind: str, length: int, here: dict[str, Any]
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
  bare, full = probe.logits(whole, weights, [length - 1], length, train=False, **here)
  logits = bare if kind == 'bias' else full
  return Unscaled(probe.frequencies(whole, weights, length), Curves(length, logits[:, -1, ::-1]))


def weights_of(encoding: Encoding) -> Iterator[Weight]:
  """Yields the `Weight`s of an encoding whose dims cover all layers."""
  tree = jax.eval_shape(encoding.init_weights, jax.random.key(0))
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = '/'.join(key.key for key in path)
    yield Weight(name, leaf.shape, letters(path[-1].key).startswith('L'))
