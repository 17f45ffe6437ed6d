"""The worked examples of two tutorials, computed: what they print next to what is right.

  python -m experiments.seeds.worked_examples

Every line has the error's number in docs/tutorial_errors.md, and every right number is asserted.
The tutorials are quoted by single numbers only. The second one's word vectors are not among them,
so WORDS stands in for them there.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from posjax import Bound, Encoding, Nope, Positions, attend
from posjax.dims import Dims
from posjax.encodings.parts.distance import DistanceBias, pair_distances
from posjax.encodings.sinusoidal import sinusoid

# The first tutorial: v, which is also its p; e, the weights s and the outputs y as printed.
V = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
E = np.array([[0.2, 0.4, 0.6], [0.5, 0.7, 0.9], [0.8, 1.0, 1.1]])
S = np.array([[0.2, 0.3, 0.4], [0.4, 0.5, 0.6], [0.6, 0.7, 0.8]])
Y = np.array([[0.46, 0.76, 1.06], [0.66, 0.89, 1.16], [1.14, 1.29, 1.44]])

WORDS = np.array([[0.1, 0.2, 0.3, 0.4], [0.8, 0.7, 0.6, 0.5]])


class Difference(DistanceBias):
  """The second tutorial's p_ij = i - j, added to the score; or i - (i - 1) = 1 for every pair."""

  of_pairs: bool = True

  def bias(self, distance: jax.Array) -> jax.Array:
    return (distance if self.of_pairs else jnp.ones_like(distance))[..., None]


def positions(length: int, start: int = 0) -> Positions:
  row = start + jnp.arange(length)[None]
  return Positions(row[..., None], row, jnp.zeros_like(row))


def attention(
  q: np.ndarray, k: np.ndarray, v: np.ndarray, module: Encoding | None = None, *,
  causal: bool = False, start: int = 0,
) -> np.ndarray:
  """Returns softmax(q kᵀ / sqrt(H) + bias) v of one head, [T, width of v], from `attend`."""
  H = q.shape[-1]
  encoding = Bound((module or Nope()).with_dims(Dims(N=1, K=1, H=H)))
  at = positions(len(q), start)
  heads = lambda x: jnp.asarray(x)[None, :, None]
  queries = at.attach(heads(q) * H**-0.5)
  keys = at.attach(heads(k), heads(v))
  return np.asarray(attend(queries, keys, encoding, causal=causal)[0, :, 0])


def weights(e: np.ndarray, module: Encoding | None = None, **how: bool | int) -> np.ndarray:
  """Returns the attention weights, [T, T]: the output if value j is the j-th unit vector."""
  return attention(e, e, np.eye(len(e)), module, **how)


def two_heads(x: np.ndarray, start: int = 0) -> np.ndarray:
  """Returns Concat(head_1, head_2) W_O; each head projects to half of the width."""
  D = x.shape[-1]
  query, key, value, output = np.random.default_rng(0).normal(size=(4, D, D)).round(1)
  halves = np.s_[:, : D // 2], np.s_[:, D // 2 :]
  heads = [
    attention(x @ query[own], x @ key[own], x @ value[own], Difference(), start=start)
    for own in halves
  ]
  return np.concatenate(heads, axis=-1) @ output


def show(error: str, what: str, printed: object, computed: np.ndarray, expected: object) -> None:
  """Prints a line; raises AssertionError if `computed` is not `expected` to three decimals."""
  np.testing.assert_allclose(computed, expected, rtol=0, atol=6e-4)
  listed = np.round(np.asarray(computed, np.float64), 3).tolist()
  print(f'{error:8}{what}: printed {printed}; computed {listed}')


def show_rows(
  name: str, errors: Iterable[str], printed: np.ndarray, computed: np.ndarray, expected: list
) -> None:
  """Prints one line for each row: vector i of the tutorial."""
  rows = zip(errors, printed, computed, expected, strict=True)
  for i, (error, *cells) in enumerate(rows, 1):
    show(error, f'{name}_{i}', cells[0].tolist(), *cells[1:])


def absolute() -> None:
  """Computes the first tutorial's example: positions that are added to the embeddings."""
  # Three channels of the sinusoids of width 4: their frequencies are 1 and 1/100.
  p = np.asarray(sinusoid(jnp.arange(3)[None], 3)[0])
  show('E11', 'p', V.tolist(), p, [[0, 1, 0], [0.841, 0.540, 0.010], [0.909, -0.416, 0.020]])
  e = V + V
  show_rows('e', ('-', 'E12', 'E13'), E, e, [E[0], [0.8, 1.0, 1.2], [1.4, 1.6, 1.8]])
  show('E14', 'sums of the rows of s', [0.9, 1.5, 2.1], weights(e).sum(1), [1, 1, 1])
  show_rows('s', ('E14',) * 3, S, weights(e), [
    [0.208, 0.315, 0.477], [0.085, 0.239, 0.676], [0.029, 0.155, 0.816],
  ])
  order = [1, 2, 0]
  show('E15', 's_1 if the keys are given in the order 2, 3, 1', 'other columns',
       attention(e, e[order], np.eye(3)[order])[0], weights(e)[0])
  # The tutorial takes the weights of row 1 for every output, and permutes the e's instead.
  show('E18', 'y_1 as its expression evaluates', Y[0].tolist(), S[0] @ E, [0.51, 0.69, 0.83])
  slip = np.array([[0.2, 0.5, 0.6], E[1], E[2]])  # E17: 0.5 stands for 0.4
  show('E16,17', 'y_2 as its expression evaluates', Y[1].tolist(),
       S[0] @ slip[[1, 0, 2]], [0.48, 0.69, 0.80])
  # Row i of its own s, times its own e.
  show_rows('(s e)', ('E18', 'E19', 'E20'), Y, S @ E, [
    [0.51, 0.69, 0.83], [0.81, 1.11, 1.35], [1.11, 1.53, 1.87],
  ])
  show_rows('y', ('E21',) * 3, Y, attention(e, e, e), [
    [0.962, 1.162, 1.362], [1.155, 1.355, 1.555], [1.272, 1.472, 1.672],
  ])
  show('E21', 'largest value among its e, a bound of their means', Y.max(), E.max(), 1.1)
  show('E21', 'y_1, causal', Y[0].tolist(), attention(e, e, e, causal=True)[0], e[0])


def relative() -> None:
  """Computes what both tutorials say of relative positions, and the second one's example."""
  e = V + V
  show('E3', 'weights with the offset to the predecessor', 'a relative encoding',
       weights(e, Difference(of_pairs=False)), weights(e))
  show('E4', 'y_1 with weights s_1j', 's_1 without j', weights(e)[0] @ e, attention(e, e, e)[0])
  at = positions(2)
  word = at.attach(jnp.asarray(WORDS)[None, :, None])
  show('E22', 'P', [1, -1], pair_distances(word, word)[0], [[0, -1], [1, 0]])
  show('E23', 'weights with P in the score', 'E + P', weights(WORDS, Difference()),
       [[0.701, 0.299], [0.606, 0.394]])
  show('E23', 'the same from position 100 on', 'E + P', weights(WORDS, Difference(), start=100),
       weights(WORDS, Difference()))
  show('E24', 'H = alpha V', 'X * alpha: [2, 4] times [2, 2]',
       attention(WORDS, WORDS, WORDS, Difference()),
       [[0.310, 0.350, 0.390, 0.430], [0.376, 0.397, 0.418, 0.439]])
  show('E10,25', 'Concat(head_1, head_2) W_O, scaled by 1/sqrt(2)', 'one unscaled product',
       two_heads(WORDS), [[-1.314, -1.588, 0.294, -0.913], [-1.305, -1.582, 0.298, -0.916]])


if __name__ == '__main__':
  absolute()
  relative()
