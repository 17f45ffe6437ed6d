"""Tokens cut into blocks, and outputs joined again.

Blocks are kept as products want them, [B, N, T, H], and shown to hooks as these see tokens,
[B, T, N, H], which costs nothing where a hook does not look.
"""

import jax
import jax.numpy as jnp


def split(tokens, block):
  """Every leaf's token axis in blocks, the last one padded: [blocks, B or 1, block, ...]."""
  T = tokens.h.shape[1]
  blocks = -(-T // block)

  def cut(x, fill=0):
    padding = [(0, 0), (0, blocks * block - T)] + [(0, 0)] * (x.ndim - 2)
    x = jnp.pad(x, padding, constant_values=fill)
    return x.reshape(x.shape[0], blocks, block, *x.shape[2:]).swapaxes(0, 1)

  return jax.tree.map(cut, tokens).replace(segment_ids=cut(tokens.segment_ids, fill=-1))


def join(o_BNTH, T):
  """Blocks [blocks, B, N, block, H] to the first T tokens, [B, T, N, H]."""
  o = o_BNTH.transpose(1, 0, 3, 2, 4)
  return o.reshape(o.shape[0], -1, *o.shape[3:])[:, :T]
