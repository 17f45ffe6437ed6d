"""PaTH: a query meets a key through a product of reflections, one for each token in between.

Yang et al. 2025, arXiv 2505.16381, equations 1 and 4; key blocks use the UT transform of section 3.

  A_ij = q_i^T (H_i H_(i-1) … H_(j+1)) k_j / sqrt(H)        H_t = I - b_t w_t w_t^T
  b_t = 2 sigmoid(x_t . beta + beta_bias)
  w_t = a / sqrt(|a|^2 + 1e-6),  a = silu(sum_d taps_(2-d) u_(t-d)),  u_t = x_t down up

For a block of keys, w_t are the rows of W, k_t the rows of K and D = diag(b). The product over
the block needs one triangular inverse. >> keeps entries strictly below the diagonal and in one
document:

  A = (I + >>(D W W^T))^-1    R = A D >>(W K^T)    Y = A D W
  X = q W^T where visible,   scores = q K^T - X R,   q' = q - X Y

where q, the carry, is the query after all later key blocks. The convolution spans three tokens, so
the state keeps the last two. Padding may precede a text but not interrupt it.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair, Positions, State
from posjax.encodings.parts.taps import convolve

TAPS = 3


@flax.struct.dataclass
class Recent:
  """Convolution inputs of the last tokens, [B, TAPS - 1, K, H], and their segment ids."""

  u: jax.Array
  segment_ids: jax.Array


@flax.struct.dataclass
class Reflections:
  """w [B, T, K, H] and b [B, T, K] of each token."""

  w: jax.Array
  b: jax.Array


@flax.struct.dataclass
class Crossing:
  """Matrices of a block of keys that `score` reads: W and Y [B, K, S, H], R [B, K, S, S]."""

  W: jax.Array
  R: jax.Array
  Y: jax.Array


class Path(Encoding):
  rank: int = 32
  axes = None
  causal_only = True
  contiguous = True
  own_score = True
  widest_block = 64
  reach = TAPS - 1

  def check(self, dims: Dims) -> None:
    if self.rank < 1:
      raise ValueError(f'rank must be positive; it is {self.rank}')

  def setup(self) -> None:
    init = nn.initializers.normal(0.02)
    self.down_LDR = self.weight('down_LDR', init, R=self.rank)
    self.up_LRKH = self.weight('up_LRKH', init, R=self.rank)
    self.taps_LRKH = self.weight('taps_LRKH', nn.initializers.normal(TAPS**-0.5), R=TAPS)
    self.beta_LDK = self.weight('beta_LDK', init)
    self.beta_bias_LK = self.weight('beta_bias_LK', nn.initializers.zeros)

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    u = jnp.zeros((batch, TAPS - 1, self.dims.K, self.dims.H))
    return State(layer=Recent(u, jnp.full((batch, TAPS - 1), -1, jnp.int32)))

  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    dtype = at_least_float32(x_BTD)
    cast = lambda weight: weight.astype(x_BTD.dtype)
    u = jnp.einsum('BTR,RKH->BTKH', x_BTD @ cast(self.down_LDR), cast(self.up_LRKH)).astype(dtype)
    segment_ids = jnp.broadcast_to(at.segment_ids, u.shape[:2])
    u = jnp.concatenate([state.u.astype(dtype), u], axis=1)
    segment_ids = jnp.concatenate([state.segment_ids, segment_ids], axis=1)
    a = jax.nn.silu(convolve(u, segment_ids, self.taps_LRKH.astype(dtype)))
    w = a * jax.lax.rsqrt(jnp.sum(a**2, axis=-1, keepdims=True) + 1e-6)
    logit = jnp.einsum('BTD,DK->BTK', x_BTD, cast(self.beta_LDK), preferred_element_type=dtype)
    last = Recent(u[:, 1 - TAPS :].astype(state.u.dtype), segment_ids[:, 1 - TAPS :])
    return Reflections(w, 2 * jax.nn.sigmoid(logit + self.beta_bias_LK)), last

  def key_block(self, k: AttentionInput) -> AttentionInput:
    W, K = (x.swapaxes(1, 2) for x in (k.features.w, k.h.astype(k.features.w.dtype)))
    b = k.features.b.swapaxes(1, 2)[..., None]
    same = k.segment_ids[:, None, :, None] == k.segment_ids[:, None, None, :]
    below = jnp.tril(same, -1)
    A = inverse(jnp.where(below, b * (W @ W.mT), 0))
    R = A @ jnp.where(below, b * (W @ K.mT), 0)
    return k.replace(features=Crossing(W, R, A @ (b * W)))

  def init_carry(self, q: AttentionInput) -> Any:
    return q.h.swapaxes(1, 2).astype(at_least_float32(q.h))

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    B, N, T, H = carry.shape
    block, keys = pair.k.features, pair.k.h.swapaxes(1, 2).astype(carry.dtype)
    q = carry.reshape(B, self.dims.K, -1, T, H)
    product = lambda q, k_BKSH: jnp.einsum('BKGTH,BKSH->BKGTS', q, k_BKSH)
    X = jnp.where(pair.mask[:, :, None], product(q, block.W), 0)
    s = product(q, keys) - X @ block.R[:, :, None]
    q = q - X @ block.Y[:, :, None]
    return s.reshape(B, N, T, -1), q.reshape(carry.shape)


def inverse(M: jax.Array) -> jax.Array:
  """Returns (I + M)^-1 for matrices M [..., S, S] that are 0 on and above the diagonal.

  Starts with 1 x 1 blocks on the diagonal and merges the inverses of neighboring blocks:
  [[A, 0], [-B C A, B]] is the inverse of [[A^-1, 0], [C, B^-1]]. Unlike a power series in M, this
  loses no digits when the w of a document repeat.
  """
  S = M.shape[-1]
  size = 1 << (S - 1).bit_length()
  M = jnp.pad(M, [(0, 0)] * (M.ndim - 2) + [(0, size - S)] * 2)
  blocks = jnp.ones((*M.shape[:-1], 1, 1), M.dtype)  # [..., number of blocks, width, width]
  while (width := blocks.shape[-1]) < size:
    pairs = size // (2 * width)
    C = M.reshape(*M.shape[:-2], pairs, 2, width, pairs, 2, width)[..., 1, :, :, 0, :]
    C = jnp.einsum('...pipj->...pij', C)
    A, B = blocks[..., 0::2, :, :], blocks[..., 1::2, :, :]
    upper = jnp.concatenate([A, jnp.zeros_like(A)], axis=-1)
    lower = jnp.concatenate([-B @ C @ A, B], axis=-1)
    blocks = jnp.concatenate([upper, lower], axis=-2)
  return blocks[..., 0, :S, :S]


EXAMPLES = (dict(path=dict(rank=5)),)
