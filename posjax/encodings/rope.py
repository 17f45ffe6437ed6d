"""RoPE: queries and keys are rotated by angles proportional to their positions.

Su et al. 2021, "RoFormer", arXiv 2104.09864, equations 14 to 16 and 34.

  q'_m . k'_n = q_m^T R(n - m) k_n        R rotates plane i by (n - m) theta_i
  theta_i = base^(-2i/d),  i = 0 .. d/2 - 1

The planes are pairs of channels: 'half' pairs (i, i + d/2), as GPT-NeoX and the usual Llama
checkpoints do; 'interleaved' pairs (2i, 2i + 1), as the paper and GPT-J do. A permutation of
channels turns one into the other, so weights of one read as the other are silently wrong. With
`fraction` < 1 only the first d = H fraction channels turn (GPT-NeoX); d also sets the frequencies.

`scaling` is another table of theta, for contexts beyond those of training: a dictionary in Hugging
Face's words, see scaling.py. Where it depends on the length (dynamic, longrope) that is how many
tokens may come, settled when a sequence begins: all its keys, cached or not, turn alike.
"""

import jax.numpy as jnp
import numpy as np
from flax.core import FrozenDict

from posjax.encodings import scaling as scaling_lib
from posjax.encodings import scaling_check
from posjax.encodings.encoding import Encoding, State, wide

LAYOUTS = ('half', 'interleaved')


def frequencies(width, base=10_000.0):
  """theta_i in radians per position: [width / 2], float64."""
  return base ** -(np.arange(0, width, 2) / width)


def waves(pos_BT, theta, dtype):
  """Cosines and sines of pos * theta: [B, T, len(theta)] each.

  A rounded angle is off by half a unit in its last place: 0.004 in float32 at 100,000 radians.
  """
  # A product, not an einsum: accelerators would round its operands to bfloat16.
  angle = pos_BT[..., None].astype(dtype) * jnp.asarray(theta, dtype)
  return jnp.cos(angle), jnp.sin(angle)


def turn(x_BTNH, cos_BTC, sin_BTC, layout='half'):
  """Turns the first 2 C channels of each head; the rest pass unchanged."""
  cos, sin = cos_BTC[:, :, None], sin_BTC[:, :, None]
  width = 2 * cos.shape[-1]
  x = x_BTNH[..., :width].astype(cos.dtype)
  if layout == 'half':
    a, b = jnp.split(x, 2, axis=-1)
    x = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
  else:
    a, b = x[..., 0::2], x[..., 1::2]
    x = jnp.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)
  return jnp.concatenate([x.astype(x_BTNH.dtype), x_BTNH[..., width:]], axis=-1)


def rotate(x_BTNH, pos_BT, theta, layout='half'):
  """Turns the first 2 len(theta) channels of each head by pos * theta; the rest pass unchanged."""
  return turn(x_BTNH, *waves(pos_BT, theta, wide(x_BTNH)), layout)


class Rope(Encoding):
  base: float = 10_000.0
  fraction: float = 1.0
  layout: str = 'half'
  scaling: FrozenDict = FrozenDict()
  turns = 'queries and keys'

  def __post_init__(self):
    # A plain dictionary would leave the module without a hash.
    object.__setattr__(self, 'scaling', scaling_lib.frozen(self.scaling))
    super().__post_init__()

  @property
  def depends_on_capacity(self):
    if not scaling_lib.depends_on_length(self.scaling):
      return ''
    return f'frequencies of {self.scaling["rope_type"]} are those of all tokens that may come'

  def check(self, dims):
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout is {self.layout!r}; valid: {", ".join(LAYOUTS)}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    width = dims.H * self.fraction
    whole = abs(width - round(width)) < 1e-6
    if not 0 < self.fraction <= 1 or not whole or round(width) % 2 or not round(width):
      raise ValueError(
        f'fraction {self.fraction} of head size {dims.H} is {width:g} channels; '
        'it must be an even number of them, from 2 to the head size'
      )
    scaling_check.check(self.scaling)
    scaling_check.check_fit(self.scaling, frequencies(round(width), self.base))
    if 'partial_rotary_factor' in self.scaling and self.fraction != 1:
      raise ValueError(
        f'scaling: {self.scaling["rope_type"]} says itself how many planes turn: fraction must be '
        f'1; it is {self.fraction}'
      )

  def frequencies(self):
    """theta_i before it is scaled."""
    return frequencies(round(self.dims.H * self.fraction), self.base)

  def scaled(self, length=0):
    """What `scaling` makes of them, if so many tokens may come."""
    return scaling_lib.scale(self.scaling, self.frequencies(), length)

  def init_state(self, batch, capacity, train, rng):
    if not self.depends_on_capacity:
      return State()
    return State(layer=jnp.asarray(self.scaled(capacity).theta)[None])

  def waves(self, at, dtype):
    return () if self.depends_on_capacity else self._waves(at, self.scaled().theta, dtype)

  def features(self, x_BTD, at, state):
    if not self.depends_on_capacity:
      return (), state
    return self._waves(at, state[0], wide(x_BTD)), state

  def query(self, q):
    q = self._turn(q)
    return q.replace(h=q.h * self.scaled().query_factor)

  def key(self, k):
    return self._turn(k)

  def _waves(self, at, theta, dtype):
    factor = self.scaled().attention_factor
    return tuple(factor * wave for wave in waves(at.pos[..., 0], theta, dtype))

  def _turn(self, tokens):
    made = tokens.features or tokens.waves or self.waves(tokens, wide(tokens.h))
    return tokens.replace(h=turn(tokens.h, *made, self.layout), features=(), waves=())


def examples():
  """Small settings, which the tests hold to the contract."""
  dynamic = dict(rope_type='dynamic', factor=2.0, original_max_position_embeddings=16)
  return Rope(), Rope(base=100.0, fraction=0.5, layout='interleaved', scaling=dynamic)
