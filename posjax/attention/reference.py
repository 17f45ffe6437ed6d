"""Attention as papers write it, with all T x S logits in memory: fastest for short sequences."""

import jax
import jax.numpy as jnp

from posjax.attention.mask import visible
from posjax.attention.products import weighted_values
from posjax.encodings import Bound
from posjax.encodings.core.arrays import qk_logits
from posjax.encodings.core.tokens import AttentionInput, Pair


def largest(s_BNTS: jax.Array, mask: jax.Array) -> jax.Array:
  """Returns the largest visible logit of each query; no gradient, as it cancels in the softmax."""
  s_BNTS = jax.lax.stop_gradient(s_BNTS)
  return jnp.max(s_BNTS, axis=-1, where=mask, initial=jnp.finfo(s_BNTS.dtype).min)


def weigh(s_BNTS: jax.Array, mask: jax.Array, m_BNT: jax.Array) -> jax.Array:
  """Returns exp(s - m), 0 if masked; masked before exp, so that its gradient cannot become NaN."""
  return jnp.where(mask, jnp.exp(jnp.where(mask, s_BNTS - m_BNT[..., None], 0)), 0)


def reference(
  q: AttentionInput, k: AttentionInput, encoding: Bound, *, causal: bool, window: int
) -> jax.Array:
  """Returns softmax(score) v; see `attend`."""
  mask, k = visible(q, k, causal=causal, window=window), encoding.key_block(k)
  pair = Pair(q, k, mask, encoding.position_bias(q, k))
  s_BNTS, carry = encoding.score(qk_logits(q.h, k.h), pair, encoding.init_carry(q))
  if encoding.module.normalizer == 'softmax':
    p_BNTS = weigh(s_BNTS, mask, largest(s_BNTS, mask))
    total_BNT = nonzero(jnp.sum(p_BNTS, axis=-1))
  else:
    p_BNTS = weigh(s_BNTS, mask, jnp.zeros_like(s_BNTS[..., 0]))
    total_BNT = jnp.ones_like(s_BNTS[..., 0])
  # Heads before tokens, as in a cache: otherwise XLA may transpose all values for one query.
  o_BTNH = weighted_values(p_BNTS, k.v.swapaxes(1, 2)).swapaxes(1, 2)
  o_BTNH = encoding.output(o_BTNH, p_BNTS, pair) / per_query(total_BNT)
  return encoding.finish(o_BTNH, q, carry).astype(q.h.dtype)


def nonzero(total: jax.Array) -> jax.Array:
  """Replaces a total of 0 by 1: a query that sees no key then has output 0."""
  return jnp.where(total > 0, total, 1)


def per_query(x_BNT: jax.Array) -> jax.Array:
  """Transposes [B, N, T] to [B, T, N, 1], the layout of outputs."""
  return x_BNT.swapaxes(1, 2)[..., None]
