"""Do 8-bit weights hurt far positions, and does that depend on the encoding?

Each weight matrix of a trained run is rounded to signed integers of b bits, with one scale for each
output channel (symmetric, weights only; Jacob et al. 2018, arXiv 1712.05877, section 2):

  w' = s round(w / s)      s = the largest |w| of the channel / (2^(b-1) - 1)

The token table has a scale for each token. Norms and weights of encodings, which are few, stay
float32. The computation is in float32, so only the error of rounding is seen, no gain of speed.
4 bits show what a coarser grid would do.

Criteria, written before the first run. Windows of the longest test do not overlap, so a position is
the number of tokens before it. Differences are in bits per byte, rounded minus float32 weights, for
the same bytes; intervals are 95 %, over windows:

  "int8 is free": the mean difference at every length is below 0.01.
  "it hurts far positions": the mean difference of the positions beyond the trained length, minus
    that within the trained length, is above 0, and its interval excludes 0.

  python -m experiments.promises.compression --run=runs/rope --run=runs/nope
"""

import math
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.promises import trained
from posjax import state
from posjax.dims import is_matrix, letters
from posjax.evaluate import Scorer, mean
from posjax.optimizer import of_encoding
from posjax.runtime import program

BITS = 8, 4
INPUTS = {'table_VD': 'D', 'output_NHD': 'NH'}  # axes that a product sums over; others: the first
TEST = 'non-overlapping'


def quantized(w: jax.Array, axes: tuple[int, ...], bits: int) -> tuple[jax.Array, jax.Array]:
  """Returns int8 weights in `bits` bits, and their scales, which are 1 along `axes`."""
  most = 2 ** (bits - 1) - 1
  largest = jnp.max(jnp.abs(w), axis=axes, keepdims=True)
  scale = jnp.where(largest > 0, largest, 1) / most
  return jnp.round(w / scale).astype(jnp.int8), scale


def rounded(params: Any, bits: int) -> Any:
  """Returns the weights after a round trip through integers of `bits` bits."""

  def one(path, w):
    name = path[-1].key
    if of_encoding(path) or not is_matrix(name):
      return w
    own = letters(name)
    first = w.ndim - len(own)  # stacked layers come before the letters
    axes = tuple(first + own.index(letter) for letter in INPUTS.get(name, own[0]))
    integers, scale = quantized(w, axes, bits)
    return integers * scale

  return jax.tree_util.tree_map_with_path(one, params)


class Difference(NamedTuple):
  """A mean over windows, and half of its 95 % interval."""

  mean: float
  half: float

  def __str__(self) -> str:
    return f'{self.mean:+.4f} ± {self.half:.4f}'


def interval(values: np.ndarray) -> Difference:
  """Returns the mean of one value for each window, with its normal interval."""
  return Difference(
    float(np.mean(values)), 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values))
  )


def spans(trained_length: int, longest: int) -> list[tuple[int, int]]:
  """Returns the spans of positions (0, L), (L, 2L), (2L, 4L), … up to the longest length."""
  ends = [trained_length * 2**i for i in range(int(math.log2(longest // trained_length)) + 1)]
  return [*zip([0, *ends[:-1]], ends, strict=True)]


def window_means(values: np.ndarray, weights: np.ndarray, start: int, end: int) -> np.ndarray:
  """Returns the weighted mean of positions `start` to `end` - 1 of each window, [rows]."""
  part = slice(start, end)
  return np.sum((values * weights)[:, part], axis=1) / np.sum(weights[:, part], axis=1)


def compare(run: trained.Trained) -> None:
  """Prints bits per byte by length for each number of bits, and differences by position."""
  setup, config = run.setup, run.setup.config
  scorer = Scorer(
    setup.task, setup.model, setup.mesh, config.train.batch * config.train.length, config.seed
  )
  rows, best = setup.open().tests[TEST].rows, setup.task.best
  kinds = {'float32': run.params, **{f'int{b}': rounded(run.params, b) for b in BITS}}
  found, bits_per_nat = {}, 0.0
  with jax.set_mesh(setup.mesh):
    for kind, params in kinds.items():
      scored = {n: scorer(params, batch) for n, batch in rows.items()}
      found[kind] = {n: own[best] for n, own in scored.items()}
      means = {n: {name: mean(*pair) for name, pair in own.items()} for n, own in scored.items()}
      bits = {n: setup.task.summary(own)['bits/byte'] for n, own in means.items()}
      bits_per_nat = bits[max(rows)] / means[max(rows)][best]
      print(f'{run.name:>10} {kind:>8} ' + ' '.join(f'{bits[n]:8.4f}' for n in rows), flush=True)
  longest, weights = max(rows), found['float32'][max(rows)][1]
  for kind in [*kinds][1:]:
    change = bits_per_nat * (found[kind][longest][0] - found['float32'][longest][0])
    means = [
      window_means(change, weights, *span) for span in spans(config.train.length, longest)
    ]
    far = interval(window_means(change, weights, config.train.length, longest) - means[0])
    told = '  '.join(str(interval(own)) for own in means)
    print(f'{run.name:>10} {kind:>8} {told}   far - near {far}', flush=True)


def main(argv: list[str]) -> int:
  runs = trained.parse('compression', __doc__, argv)
  config = runs[0].setup.config
  lengths = state.test_lengths(config)
  print('bits/byte at lengths ' + ', '.join(map(str, lengths)))
  named = ', '.join(f'{a} to {b - 1}' for a, b in spans(lengths[0], lengths[-1]))
  print(f'then the difference to float32 at positions {named}\n')
  for run in runs:
    compare(run)
  return 0


if __name__ == '__main__':
  sys.exit(program.run_program(lambda: main(sys.argv[1:])))
