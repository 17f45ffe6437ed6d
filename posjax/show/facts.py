"""Everything that is told of one layer of a model, as numbers: what `words` and `picture` show."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np

from posjax.attention import choose
from posjax.attention.fused import unsupported_hook
from posjax.dims import letters
from posjax.encodings import arguments
from posjax.encodings.core.encoding import Encoding
from posjax.errors import UserError
from posjax.models.pattern import Layer
from posjax.show import probe

EXTENSION = 4  # the longer text, in trained lengths
MOST_ROWS = 128  # queries in a picture


class Curves(NamedTuple):
  """What the last query of a text of equal tokens makes of each key.

  Attributes:
    length: tokens of the text.
    by_head: [N, length], by distance: 0 is the query's own token. NaN: it is not seen.
  """

  length: int
  by_head: np.ndarray


class Unscaled(NamedTuple):
  """What would be if the argument `scaling` were empty."""

  theta: np.ndarray
  extended: Curves


class Weight(NamedTuple):
  name: str
  shape: tuple[int, ...]  # in all layers
  layered: bool  # whether each layer has its own


@dataclasses.dataclass(frozen=True)
class Facts:
  """One layer's.

  Attributes:
    layer: of the model's pattern: the name in the config, window and chunk.
    encoding: with its dims.
    kind: what the curves and the picture are: 'bias', 'mean logit' or 'log weight'.
    trained: `Curves` at the trained length.
    extended: at EXTENSION times that; None where there are not as many positions.
    rows: queries of the picture.
    picture: the same for all pairs, [N, len(rows), length].
    theta: frequencies, radians per position, [C].
    unscaled: what would be without their scaling; None where there is none.
    reads: whether its features depend on what tokens hold.
    adds: whether it adds something to keys.
    weights: of all layers together.
    flops: of a token in each layer, and once for all layers.
    plain_flops: of a token in the attention of a layer without an encoding.
    drawn: how many draws of the positions the curves are a mean of; 1: there is nothing to draw.
    dtype: that the model computes in.
    values: of the weights, 'initial' or 'normal'.
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
  def heads(self):
    """{label: index} of the heads that differ, in curves and picture."""
    shown = [self.picture, self.trained.by_head]
    shown += [self.extended.by_head] if self.extended else []
    alike = all(np.allclose(x, x[:1], 1e-9, 1e-9, equal_nan=True) for x in shown)
    N = len(self.picture)
    return {'all heads' if N > 1 else 'its head': 0} if alike else {
      f'head {n + 1}': n for n in range(N)
    }

  @property
  def moved(self):
    """How much the longer text changes within the trained length, at most; None without one."""
    if not self.extended:
      return None
    change = self.extended.by_head[:, : self.trained.length] - self.trained.by_head
    return float(np.nanmax(np.abs(change), initial=0))

  @property
  def choices(self):
    """What 'auto' takes at the trained length and at the longer one, and why."""
    lengths = self.trained.length, EXTENSION * self.trained.length
    return {T: choose(T, T, self.encoding, self.dtype) for T in lengths}

  @property
  def unsupported_hook(self):
    return unsupported_hook(self.encoding)


def gather(model, layer, *, length, seed, values='initial'):
  """The `Facts` of the layers of a model that are like `layer`.

  Args:
    model: a `Transformer`.
    layer: of its pattern.
    length: the trained one.
    seed: of the weights and of positions that are drawn.
    values: of the weights, see `probe.first_weights`.

  Raises:
    UserError: no query sees a key.
  """
  encoding = model.pattern.by_name[layer.encoding].with_dims(model.dims)
  weights = probe.first_weights(encoding, seed, values)
  here = dict(window=layer.window, chunk=layer.chunk, seed=seed)
  longer = EXTENSION * length
  fits = encoding.limit is None or encoding.limit >= longer
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


def judged(encoding, bare, full, far):
  """What is shown, in the picture and of the far text: logits without content, if that adds 1."""
  pairs = [(bare, full)] + ([far] if far else [])
  adds = all(np.allclose(b + 1, f, 1e-9, 1e-9, equal_nan=True) for b, f in pairs)
  if encoding.normalizer == 'none':
    kind, which = 'log weight', 1
  else:
    kind, which = ('bias', 0) if adds else ('mean logit', 1)
  return kind, (bare, full)[which], far and far[which]


@functools.cache
def plain_flops(dims, length):
  """`probe.flops` where there is no encoding."""
  return probe.flops(Encoding().with_dims(dims), {}, length)


def own_flops(encoding, weights, length):
  """The encoding's own: (in each layer, once)."""
  with_it, without = probe.flops(encoding, weights, length), plain_flops(encoding.dims, length)
  return tuple(np.subtract(with_it, without).tolist())


def unscaled(encoding, weights, kind, length, here):
  """`Unscaled`, in a text of `length` tokens; None where no part has a scaling."""
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


def weights_of(encoding):
  """The `Weight`s of an encoding that has the dims of all layers together."""
  tree = jax.eval_shape(encoding.init_weights, jax.random.key(0))
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = '/'.join(key.key for key in path)
    yield Weight(name, leaf.shape, letters(path[-1].key).startswith('L'))
