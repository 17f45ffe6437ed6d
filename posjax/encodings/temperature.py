"""Temperatures: a constant or a function of the query's position multiplies the query's logits.

  A_ij = f_i q_i . k_j / sqrt(H)        n = p + 1 for a query at p, which is counted from 0

  log_n      f = max(1, ln n / ln L)             Chiang and Cholak 2022, ACL; Qwen, ReRoPE
  llama4     f = 1 + beta ln(1 + floor(n / L))   Llama 4, layers without RoPE: beta 0.1, L 8192
  ministral  f = 1 + beta ln(1 + floor(p / L))   Ministral 3, all layers: beta 0.1
  drope      f = 1 + growth ln(target / L)       Gelberg et al. 2025, arXiv 2512.12167
  uniform    f = factor                          Wang et al. 2024, arXiv 2404.12224: 1.2

L is `length`, the trained length; for Llama 4, its floor_scale. DroPE is a model that was trained
with RoPE and then a little more without it; at the length `target` its growth is 0.412, or 0.103
for SmolLM. Alone, this encoding is NoPE with a temperature; 'temperature+rope' has both.

log_n is a law of the number of visible keys, which is n under a causal mask without a window. Keys
are not counted: if positions restart, n counts within the document; if positions jump or are drawn,
or a window hides keys, n still follows the position. A query that is moved to before position 0 has
the f of position 0: n is at least 1.
"""

import inspect
import math

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, sharpen
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput

# f at positions p >= 0; the other parameters are arguments of the encoding.


def log_n(p: jax.Array, length: int) -> jax.Array:
  return jnp.maximum(1, jnp.log(p + 1) / math.log(length))


def llama4(p: jax.Array, length: int, beta: float) -> jax.Array:
  return 1 + beta * jnp.log1p(jnp.floor((p + 1) / length))


def ministral(p: jax.Array, length: int, beta: float) -> jax.Array:
  return 1 + beta * jnp.log1p(jnp.floor(p / length))


def drope(p: jax.Array, length: int, target: int, growth: float) -> jax.Array:
  return jnp.full_like(p, 1 + growth * math.log(target / length))


def uniform(p: jax.Array, factor: float) -> jax.Array:
  return jnp.full_like(p, factor)


KINDS = {law.__name__: law for law in (log_n, llama4, ministral, drope, uniform)}


class Temperature(Encoding):
  kind: str = 'log_n'
  length: int = 2048
  beta: float = 0.1
  target: int = 16_384
  growth: float = 0.412
  factor: float = 1.2
  shift_invariant = property(lambda self: self.kind in ('drope', 'uniform'))
  causal_only = property(lambda self: self.kind == 'log_n')  # else a query sees more than n keys
  encoder_order = property(lambda self: 'nothing' if self.shift_invariant else 'order and side')

  def check(self, dims: Dims) -> None:
    if self.kind not in KINDS:
      raise ValueError(f'kind is {self.kind!r}; valid: {", ".join(KINDS)}')
    least = 2 if self.kind == 'log_n' else 1
    if self.length < least:
      raise ValueError(f'length must be at least {least}; it is {self.length}')
    if self.target < 1:
      raise ValueError(f'target must be positive; it is {self.target}')

  def query(self, q: AttentionInput) -> AttentionInput:
    p_BT = q.pos[..., 0].astype(at_least_float32(q.h))
    return sharpen(q, self.at(p_BT)[..., None])

  def at(self, p: jax.Array) -> jax.Array:
    """Returns f for queries at positions `p`."""
    law = KINDS[self.kind]
    _, *arguments = inspect.signature(law).parameters
    return law(jnp.maximum(p, 0), **{name: getattr(self, name) for name in arguments})


EXAMPLES = (
  dict(temperature=dict(length=6)),
  dict(temperature=dict(kind='llama4', length=5, beta=0.5)),
)
