"""A short causal convolution over the tokens of a document."""

import jax
import jax.numpy as jnp


def convolve(u_BTKH: jax.Array, segment_ids: jax.Array, taps_RKH: jax.Array) -> jax.Array:
  """Convolves causally within each segment; `u` begins with the R - 1 preceding tokens."""
  before = len(taps_RKH) - 1
  T = u_BTKH.shape[1] - before
  own = segment_ids[:, before:]
  y = 0
  for i, tap_KH in enumerate(taps_RKH):
    same = segment_ids[:, i : i + T] == own
    y += tap_KH * jnp.where(same[..., None, None], u_BTKH[:, i : i + T], 0)
  return y
