"""Dual Chunk Attention: positions within chunks, so that no distance exceeds those of training.

An et al. 2024, "Training-Free Long-Context Scaling of Large Language Models", ICML,
arXiv 2402.17463, section 3, as in the authors' code.

  A_ij = q_i^T R(j mod c - x_ij) k_j / sqrt(H)        c = chunk - window
  x_ij = i mod c                     if j is in the same chunk of c tokens
         min(i mod c + c, chunk)     if j is in the chunk before: near keys keep their distance
         min(2c - 1, chunk)          if j is in any earlier chunk

R is as in rope.py. The paper has a chunk of 3/4 of the trained length and a window of 1/8. Models
that were trained with RoPE need no changes. The tables of the paper are of this form. The code also
has a factor on cosines and sines, by the length of its cosine tables; this factor is omitted here.
"""

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.parts.remap import Remap


class DualChunk(Remap):
  chunk: int = 3072
  window: int = 512
  shift_invariant = False

  def check(self, dims: Dims) -> None:
    super().check(dims)
    if not 0 <= self.window < self.chunk:
      raise ValueError(
        f'window must be less than chunk, {self.chunk}, and not negative; it is {self.window}'
      )

  @property
  def stride(self) -> int:
    return self.chunk - self.window

  def query_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    own = pos_BT % self.stride
    before = jnp.minimum(own + self.stride, self.chunk)
    return own, before, jnp.full_like(own, min(2 * self.stride - 1, self.chunk))

  def key_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    return (pos_BT % self.stride,)

  def kind(self, q_pos: jax.Array, k_pos: jax.Array) -> jax.Array:
    chunks = q_pos // self.stride - k_pos // self.stride
    return jnp.clip(chunks, 0, 2).astype(jnp.int32)


EXAMPLES = (
  dict(dual_chunk=dict(chunk=5, window=2)),
  dict(dual_chunk=dict(chunk=6, window=1, layout='interleaved')),
)
