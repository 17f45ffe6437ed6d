"""Selective RoPE: queries and keys are rotated by angles that are summed over the tokens so far.

Movahedi et al. 2025, ICLR 2026, arXiv 2511.17388, as in the authors' code.

  A_ij = q_i^T R(Phi_j - Phi_i) k_j / sqrt(H)        Phi_t = phi_1 + … + phi_t
  phi_t = sum_r taps_(3-r) y_(t-r) [+ exp(bias)] [times sigmoid(gate . x_t + b)],  r = 0 .. 3
  y_t = x_t down up        R rotates plane c, channels c and c + H/2, by Phi_c base^(-2c/H)

Here x is the layer's input, split into one part per key head, each normalized to length 1. A key
head and its queries share their angles. With `bias` and a projection of 0 this is RoPE. Phases are
stored in units of full rotations, without their integer part, so they do not grow with the text.
Phases and the convolution restart in each document. The state keeps both, so padding may precede a
text but not interrupt it.
"""

import math
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, per_head
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions, State
from posjax.encodings.parts.rotation import frequencies, rotate_heads
from posjax.encodings.parts.taps import convolve
from posjax.sharding import AXES

TAPS = 4


@flax.struct.dataclass
class Past:
  """y and segment ids of the last tokens, [B, TAPS - 1, ...], and the last phase, [B, K, H/2]."""

  y: jax.Array
  segment_ids: jax.Array
  rotates: jax.Array


class SelectiveRope(Encoding):
  rank: int = 32
  base: float = 500_000.0
  bias: bool = False
  gate: bool = False
  axes = None
  reach = math.inf
  rotates = 'queries and keys'

  def check(self, dims: Dims) -> None:
    if self.rank < 1 or self.base <= 0:
      raise ValueError(
        f'rank and base must be positive; they are {self.rank} and {self.base}'
      )
    if dims.H % 2:
      raise ValueError(f'the head size must be even, for pairs of channels; it is {dims.H}')
    if dims.D % dims.K:
      raise ValueError(
        f'the width is split into a part for each key head: {dims.D} is not a multiple of {dims.K}'
      )

  def setup(self) -> None:
    init, C = nn.initializers.normal(0.02), self.dims.H // 2
    self.down_LDR = self.weight('down_LDR', init, R=self.rank)
    self.up_LRKC = self.weight('up_LRKC', init, R=self.rank, C=C)
    self.taps_LRKC = self.weight('taps_LRKC', init, R=TAPS, C=C)
    if self.bias:
      self.bias_LKC = self.weight('bias_LKC', nn.initializers.zeros, C=C)
    if self.gate:
      self.gate_LDK = self.weight('gate_LDK', init)
      self.gate_bias_LK = self.weight('gate_bias_LK', nn.initializers.zeros)

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    shape = self.dims.K, self.dims.H // 2
    return State(layer=Past(
      y=jnp.zeros((batch, TAPS - 1, *shape)),
      segment_ids=jnp.full((batch, TAPS - 1), -1, jnp.int32),
      rotates=jnp.zeros((batch, *shape)),
    ))

  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    """Returns the phase of each token, [B, T, K, H/2], in full rotations, and the next state."""
    x_BTD = unit(x_BTD.astype(at_least_float32(x_BTD)), self.dims.K)
    y = product('BTR,RKC->BTKC', product('BTD,DR->BTR', x_BTD, self.down_LDR), self.up_LRKC)
    y = jnp.concatenate([state.y.astype(y.dtype), y], axis=1)
    segment_ids = jnp.broadcast_to(at.segment_ids, x_BTD.shape[:2])
    segment_ids = jnp.concatenate([state.segment_ids, segment_ids], axis=1)
    phi_BTKC = convolve(y, segment_ids, self.taps_LRKC.astype(y.dtype))
    if self.bias:
      phi_BTKC += jnp.exp(self.bias_LKC)
    if self.gate:
      logit_BTK = product('BTD,DK->BTK', x_BTD, self.gate_LDK) + self.gate_bias_LK
      phi_BTKC *= jax.nn.sigmoid(logit_BTK)[..., None]
    theta = jnp.asarray(frequencies(self.dims.H, self.base) / (2 * math.pi), y.dtype)
    first_BT = segment_ids[:, TAPS - 1 :] != segment_ids[:, TAPS - 2 : -1]
    rotates = wind(state.rotates.astype(y.dtype), theta * phi_BTKC, first_BT)
    past = Past(y[:, 1 - TAPS :], segment_ids[:, 1 - TAPS :], rotates[:, -1])
    return rotates, jax.tree.map(lambda new, old: new.astype(old.dtype), past, state)

  def query(self, q: AttentionInput) -> AttentionInput:
    return self._rotate(q)

  def key(self, k: AttentionInput) -> AttentionInput:
    return self._rotate(k)

  def _rotate(self, tokens):
    angle = 2 * math.pi * per_head(tokens.features, tokens.h.shape[2])
    return tokens.replace(h=rotate_heads(tokens.h, jnp.cos(angle), jnp.sin(angle)), features=())


def unit(x_BTD: jax.Array, parts: int) -> jax.Array:
  """Returns x with each of its parts divided by its L2 norm."""
  x = x_BTD.reshape(*x_BTD.shape[:2], parts, -1)
  x *= jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-6)
  return x.reshape(x_BTD.shape)


def product(letters: str, x: jax.Array, weight: jax.Array) -> jax.Array:
  """Returns the einsum in full precision, because errors of a phase accumulate."""
  return jnp.einsum(letters, x, weight.astype(x.dtype), precision=jax.lax.Precision.HIGHEST)


def wind(before_BKC: jax.Array, steps_BTKC: jax.Array, first_BT: jax.Array) -> jax.Array:
  """Returns sums of `before` and the steps so far, from 0 at each `first`, less whole rotations.

  The tokens of each shard of a row are summed first, so that devices exchange sums of shards only.
  """
  B, T = first_BT.shape
  shards = jax.sharding.get_abstract_mesh().shape.get(AXES['T'], 1)
  shards = 1 if T % shards else shards
  rest = lambda rotates: rotates - jnp.round(rotates)
  split = lambda x: x.reshape(B, shards, T // shards, *x.shape[2:])

  def join(early, late):
    (early_sum, early_first), (late_sum, late_first) = early, late
    return jnp.where(late_first, late_sum, rest(early_sum + late_sum)), early_first | late_first

  def shift(x, before):
    return jnp.concatenate([before[:, None], x[:, :-1, -1]], axis=1)

  steps = split(rest(steps_BTKC)), split(first_BT[..., None, None])
  sums, first = jax.lax.associative_scan(join, steps, axis=2)
  own = shift(sums, before_BKC), shift(first, jnp.zeros_like(first[:, 0, 0]))
  entering = jax.lax.associative_scan(join, own, axis=1)
  sums, _ = join(jax.tree.map(lambda x: x[:, :, None], entering), (sums, first))
  return sums.reshape(steps_BTKC.shape)


EXAMPLES = (
  dict(selective_rope=dict(rank=5)),
  dict(selective_rope=dict(rank=5, bias=True, gate=True)),
)
