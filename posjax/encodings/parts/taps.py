"""A short causal convolution over the tokens of a document."""

import jax.numpy as jnp


def convolve(u_BTKH, segment_ids, taps_RKH):
  """Convolves causally within each segment; `u` begins with the R - 1 preceding tokens."""
  before = len(taps_RKH) - 1
  T = u_BTKH.shape[1] - before
  own = segment_ids[:, before:]
  y = 0
  for i, tap_KH in enumerate(taps_RKH):
    same = segment_ids[:, i : i + T] == own
    y += tap_KH * jnp.where(same[..., None, None], u_BTKH[:, i : i + T], 0)
  return y
