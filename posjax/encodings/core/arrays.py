"""Array functions that hooks share: dtypes, heads and sums."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from posjax.encodings.core.tokens import AttentionInput


def at_least_float32(*arrays: jax.typing.ArrayLike) -> np.dtype:
  """Returns the dtype of angles, biases, carries and logits: float32, or float64 if an input is."""
  return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def zero_carry(q: AttentionInput) -> jax.Array:
  """Returns 0 for each query and head, [B, N, T]: the carry before the first block."""
  # Derived from the queries, to have their sharding under shard_map or an explicit mesh.
  return jnp.where(False, q.h[..., 0], 0).astype(at_least_float32(q.h)).swapaxes(1, 2)


def suffix_sum(x: jax.Array) -> jax.Array:
  """Returns for each element the sum of all elements after it along the last axis."""
  S = x.shape[-1]
  side = math.isqrt(S - 1) + 1
  groups = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, side**2 - S)])
  groups = groups.reshape(*x.shape[:-1], side, side)
  # Two products with a triangle, in groups and over group sums: a scan takes three times as long.
  below = np.tri(side, k=-1, dtype=x.dtype)
  product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
  within, after = product(groups, below), product(jnp.sum(groups, axis=-1), below)
  return (within + after[..., None]).reshape(*x.shape[:-1], -1)[..., :S]


def per_head(x_BTKH: jax.Array, heads: int) -> jax.Array:
  """Repeats each key head for all query heads that share it: [B, T, N, ...]."""
  return jnp.repeat(x_BTKH, heads // x_BTKH.shape[2], axis=2)


def qk_logits(q_BTNH: jax.Array, k_BSKH: jax.Array) -> jax.Array:
  """Returns q . k, [B, N, T, S]: each of K key heads serves N / K of the N query heads."""
  B, T, N, H = q_BTNH.shape
  K = k_BSKH.shape[2]
  # Heads before tokens, as in a cache: otherwise XLA may transpose all keys for one query.
  q_BKGTH = q_BTNH.reshape(B, T, K, N // K, H).transpose(0, 2, 3, 1, 4)
  q_BKTH, k_BKSH = q_BKGTH.reshape(B, K, -1, H), k_BSKH.swapaxes(1, 2)
  s = jnp.einsum('BKTH,BKSH->BKTS', q_BKTH, k_BKSH, preferred_element_type=at_least_float32(q_BTNH))
  return s.reshape(B, K, N // K, T, -1).reshape(B, N, T, -1)


def sharpen(q: AttentionInput, factor_BTN: jax.Array) -> AttentionInput:
  """Multiplies the queries by a factor per token and head; axes of size 1 broadcast."""
  h = q.h.astype(factor_BTN.dtype) * factor_BTN[..., None]
  return q.replace(h=h.astype(q.h.dtype))
