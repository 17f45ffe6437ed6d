"""Matrix products of heads, in their own layout.

Hooks see [B, T, N, H], the heads of a token contiguous; products use [B, N, T, H], the tokens of a
head contiguous. Query heads that share a key head are treated as more queries of one head.
"""

import jax
import jax.numpy as jnp

from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.tokens import AttentionInput


def swap_axes(tokens: AttentionInput) -> AttentionInput:
  """Returns tokens with h and v in the other layout: [..., T, N, H] to [..., N, T, H], and back."""
  v = None if tokens.v is None else tokens.v.swapaxes(-2, -3)
  return tokens.replace(h=tokens.h.swapaxes(-2, -3), v=v)


def qk_logits(q_BNTH: jax.Array, k_BKSH: jax.Array) -> jax.Array:
  """Returns q . k of N query heads and K key heads, [B, N, T, S]."""
  s = jnp.einsum(
    'BKTH,BKSH->BKTS', _group_heads(q_BNTH, k_BKSH), k_BKSH,
    preferred_element_type=at_least_float32(q_BNTH),
  )
  return _ungroup_heads(s, q_BNTH)


def weighted_values(p_BNTS: jax.Array, v_BKSH: jax.Array) -> jax.Array:
  """Returns the sum of values weighted by p, in the dtype of p, [B, N, T, H]."""
  # p is cast to the dtype of the values, so that bfloat16 is multiplied and float32 accumulated.
  p = _group_heads(p_BNTS.astype(v_BKSH.dtype), v_BKSH)
  o = jnp.einsum('BKTS,BKSH->BKTH', p, v_BKSH, preferred_element_type=p_BNTS.dtype)
  return _ungroup_heads(o, p_BNTS)


def weighted_queries(x_BNTH: jax.Array, p_BNTS: jax.Array, k_BKSH: jax.Array) -> jax.Array:
  """Returns for each key the sum over queries of p * x, [B, K, H, S].

  Query heads that share a key head are added. The result is transposed, so that the large matrix is
  the right operand of the product and keeps its layout.
  """
  x_BKHT = _group_heads(x_BNTH, k_BKSH).mT
  p_BKTS = _group_heads(p_BNTS.astype(x_BNTH.dtype), k_BKSH)
  return jnp.einsum('BKHT,BKTS->BKHS', x_BKHT, p_BKTS, preferred_element_type=p_BNTS.dtype)


def _group_heads(x_BNT, k_BK):
  """[B, N, T, ...] to [B, K, N / K T, ...]."""
  # Two reshapes, here and back: XLA cannot follow the sharding of heads through a single one.
  B, K = k_BK.shape[:2]
  apart = x_BNT.reshape(B, K, -1, *x_BNT.shape[2:])
  return apart.reshape(B, K, -1, x_BNT.shape[-1])


def _ungroup_heads(x_BKT, q_BNT):
  """[B, K, N / K T, ...] to [B, N, T, ...]."""
  B, N, T = q_BNT.shape[:3]
  return x_BKT.reshape(B, x_BKT.shape[1], -1, T, x_BKT.shape[-1]).reshape(B, N, T, -1)
