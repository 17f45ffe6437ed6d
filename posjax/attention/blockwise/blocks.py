"""Splits tokens into blocks, and joins blocks of outputs.

Blocks are stored in the layout of products, [B, N, T, H], and passed to hooks in the layout of
tokens, [B, T, N, H]. The transpose costs nothing if a hook does not read the array.
"""

import jax
import jax.numpy as jnp

from posjax.encodings.core.tokens import AttentionInput


def split(tokens: AttentionInput, block: int) -> AttentionInput:
  """Splits the token axis of each leaf: [blocks, B or 1, block, ...]; pads the last block."""
  T = tokens.h.shape[1]
  blocks = -(-T // block)

  def cut(x, fill=0):
    padding = [(0, 0), (0, blocks * block - T)] + [(0, 0)] * (x.ndim - 2)
    x = jnp.pad(x, padding, constant_values=fill)
    return x.reshape(x.shape[0], blocks, block, *x.shape[2:]).swapaxes(0, 1)

  return jax.tree.map(cut, tokens).replace(segment_ids=cut(tokens.segment_ids, fill=-1))


def join(o_BNTH: jax.Array, T: int) -> jax.Array:
  """Joins blocks [blocks, B, N, block, H]; returns the first T tokens, [B, T, N, H]."""
  o = o_BNTH.transpose(1, 0, 3, 2, 4)
  return o.reshape(o.shape[0], -1, *o.shape[3:])[:, :T]
