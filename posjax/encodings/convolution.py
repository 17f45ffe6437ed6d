"""Convolutional positions: adds the output of a wide convolution of its neighbors to each token.

Baevski et al. 2020, "wav2vec 2.0", NeurIPS, arXiv 2006.11477, section 2.

  y_t = x_t + gelu(b + sum_d W_d x_(t + d - before)),  d = 0 .. kernel - 1
  W_d = g_d V_d / |V_d|,  block-diagonal in `groups` blocks

It reads no positions: tokens differ by their neighbors and by the distances to them. The published
form is centered, before = floor(kernel / 2), so it reads later tokens and is for encoders. `causal`
has before = kernel - 1 and decodes from the latest tokens, which its state keeps. Tokens of other
documents, padding, and offsets beyond the ends count as 0. Padding may precede a text, but not
occur within it. wav2vec 2.0 normalizes y (LayerNorm) before its first layer.
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


@flax.struct.dataclass
class Recent:
  """The preceding tokens: embeddings, [B, before, D], and segments, [B, before]."""

  x_BRD: jax.Array
  segment_ids: jax.Array


def convolve(
  x_BSD: jax.Array, segment_ids: jax.Array, weight_RHD: jax.Array, before: int
) -> jax.Array:
  """Sums W_d x_(t + d) over d, in the segment of t + before: [B, T, D] for S = T + kernel - 1.

  Args:
    x_BSD: the T tokens, and the tokens before and after them.
    segment_ids: [B, S].
    weight_RHD: for each of R offsets, weights of the H = D / groups channels of a channel's group.
    before: how many of the offsets lie before a token.
  """
  R, H, D = weight_RHD.shape
  B, T = len(x_BSD), x_BSD.shape[1] - R + 1
  own_BT = segment_ids[:, before : before + T]
  weight_RGHC = weight_RHD.reshape(R, H, D // H, H).swapaxes(1, 2)

  # One offset after the other: all offsets together would take R times the memory of the tokens.
  @jax.checkpoint
  def add(y_BTGC, place):
    d, weight_GHC = place
    part = lambda x: jax.lax.dynamic_slice_in_dim(x, d, T, axis=1)
    same_BT = part(segment_ids) == own_BT
    x_BTGH = jnp.where(same_BT[..., None], part(x_BSD), 0).reshape(B, T, D // H, H)
    return y_BTGC + jnp.einsum('BTGH,GHC->BTGC', x_BTGH, weight_GHC), None

  zeros = jnp.zeros((B, T, D // H, H), x_BSD.dtype)
  return jax.lax.scan(add, zeros, (jnp.arange(R), weight_RGHC))[0].reshape(B, T, D)


class Convolution(Encoding):
  kernel: int = 128
  groups: int = 16
  causal: bool = True
  axes = None

  @property
  def looks_ahead(self) -> bool:
    return not self.causal

  @property
  def reach(self) -> float:
    return self._before

  @property
  def _before(self):
    return self.kernel - 1 if self.causal else self.kernel // 2

  def check(self, dims: Dims) -> None:
    if self.kernel < 2:
      raise ValueError(f'kernel, in tokens, must be at least 2; it is {self.kernel}')
    if self.groups < 1 or dims.D % self.groups:
      raise ValueError(f'groups must divide the width, {dims.D}; it is {self.groups}')

  def setup(self) -> None:
    sizes = dict(R=self.kernel, H=self.dims.D // self.groups)
    init = nn.initializers.normal(2 / (self.kernel * self.dims.D) ** 0.5)
    self.direction_RHD = self.weight('direction_RHD', init, **sizes)
    norm = lambda *_: jnp.sqrt(jnp.sum(self.direction_RHD**2, axis=(1, 2)))
    self.gain_R = self.weight('gain_R', norm, **sizes)  # so that W = V at the start
    self.bias_D = self.weight('bias_D', nn.initializers.zeros)

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    x_BRD = jnp.zeros((batch, self._before, self.dims.D))
    return State(Recent(x_BRD, jnp.full((batch, self._before), -1, jnp.int32)))

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    dtype, before, after = at_least_float32(x_BTD), self._before, self.kernel - 1 - self._before
    segment_ids = jnp.broadcast_to(at.segment_ids, x_BTD.shape[:2])
    x_BSD = jnp.concatenate([state.x_BRD.astype(dtype), x_BTD.astype(dtype)], axis=1)
    segment_ids = jnp.concatenate([state.segment_ids, segment_ids], axis=1)
    last = Recent(x_BSD[:, -before:].astype(state.x_BRD.dtype), segment_ids[:, -before:])
    x_BSD = jnp.pad(x_BSD, [(0, 0), (0, after), (0, 0)])
    segment_ids = jnp.pad(segment_ids, [(0, 0), (0, after)], constant_values=-1)
    y_BTD = convolve(x_BSD, segment_ids, self._taps().astype(dtype), before) + self.bias_D
    return (x_BTD + jax.nn.gelu(y_BTD, approximate=False)).astype(x_BTD.dtype), last

  def _taps(self):
    norm_R11 = jnp.sqrt(jnp.sum(self.direction_RHD**2, axis=(1, 2), keepdims=True))
    return self.gain_R[:, None, None] * self.direction_RHD / norm_R11


EXAMPLES = (dict(convolution=dict(kernel=2, groups=8)),)
