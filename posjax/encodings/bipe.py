"""BiPE: adds a vector for a token's index in its sentence; attention sees the sentence's index.

He et al. 2024, "Two stones hit one bird: bilevel positional encoding for better length
extrapolation", ICML, arXiv 2401.16421, section 3.

  x_t = E[token_t] + W[min(a_t, R - 1)]     a_t: tokens before t in its sentence       W: [R, D]
  p_t = step g_t                            g_t: sentences that ended before t

A sentence (the paper's segment) ends with a separator: for bytes, a full stop or a newline. The
next encoding in the chain sees only p, neither a nor the positions given with the tokens.
BiPE-RoPE is 'bipe+rope'. BiPE-ALiBi is 'bipe+alibi' with step = 96, because the authors make
ALiBi's slopes 96 times as steep.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions, State
from posjax.encodings.parts.counting import check_ids, count, is_one_of, latest


@flax.struct.dataclass
class Last:
  """State after the last token, [B] each: g, a, whether it is a separator, and its segment."""

  sentence: jax.Array
  place: jax.Array
  separator: jax.Array
  segment_ids: jax.Array


def bilevel(
  at: Positions, separators: tuple[int, ...], last: Last
) -> tuple[jax.Array, jax.Array, Last]:
  """Returns g and a of each token, [B, T] each, and the `Last` after these tokens."""
  token_BT = at.segment_ids >= 0
  ends_BT = jnp.where(token_BT, is_one_of(separators, at), -1)
  ends_BT = latest(ends_BT, last.separator)
  segment_BT = latest(at.segment_ids, last.segment_ids)
  first_BT = segment_BT[:, 1:] != segment_BT[:, :-1]
  next_BT = (ends_BT[:, :-1] == 1) & token_BT & ~first_BT
  sentence_BT = count(next_BT, first_BT, last.sentence)
  place_BT = count(token_BT & ~first_BT & ~next_BT, first_BT | next_BT, last.place)
  left = (x_BT[:, -1] for x_BT in (sentence_BT, place_BT, ends_BT, segment_BT))
  return sentence_BT, place_BT, Last(*left)


class Bipe(Encoding):
  separators: tuple[int, ...] = (46, 10)
  length: int = 1024
  step: int = 1
  stddev: float = 0.02
  longer_tables = ('table_RD',)
  reads_ids = True

  def check(self, dims: Dims) -> None:
    check_ids('separators', self.separators)
    if self.length < 1 or self.step < 1:
      raise ValueError(f'length and step must be positive; they are {self.length} and {self.step}')

  def setup(self) -> None:
    self.table_RD = self.weight('table_RD', nn.initializers.normal(self.stddev), R=self.length)

  def farthest(self, last: int, train: bool) -> int:
    return self.step * last

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    zero = jnp.zeros(batch, jnp.int32)
    return State(sequence=Last(zero, zero, zero, zero - 1))

  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    sentence_BT, _, _ = bilevel(at, self.separators, state)
    return self.step * sentence_BT[..., None], state  # `embed` updates the state

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    _, place_BT, state = bilevel(at, self.separators, state)
    row_BTD = self.table_RD[jnp.minimum(place_BT, self.length - 1)]
    return (x_BTD.astype(at_least_float32(x_BTD)) + row_BTD).astype(x_BTD.dtype), state


EXAMPLES = (
  dict(bipe=dict(separators=(6, 11), length=5), rope={}),
  dict(bipe=dict(separators=(5, 11), length=5, step=96), alibi={}),
)
