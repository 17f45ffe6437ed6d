"""Attention by `jax.nn.dot_product_attention`, which uses cuDNN on NVIDIA GPUs where possible.

It supports only dot-product logits, a softmax and a mask, and so only encodings that act on
embeddings, positions, queries and keys alone. The mask is its only argument of size T x S.
"""

import jax
import jax.numpy as jnp

from posjax.attention.mask import visible
from posjax.encodings import AttentionInput, Encoding, name_of, parts_of
from posjax.encodings.core.chain import overrides
from posjax.encodings.core.encoding import HOOKS
from posjax.errors import UserError

NARROW = (jnp.bfloat16, jnp.float16)
BEYOND = 'key block', 'query block', 'pair', 'query'  # `per` of hooks that it does not run


def unsupported_hook(encoding: Encoding) -> str:
  """Returns the encoding's first hook that fused attention does not support; '' if none."""
  parts = parts_of(encoding)
  beyond = [name for name, hook in HOOKS.items() if hook.per in BEYOND]
  return next((name for name in beyond if any(overrides(part, name) for part in parts)), '')


def check_fused(encoding: Encoding) -> None:
  """Raises UserError if fused attention does not support the encoding."""
  if hook := unsupported_hook(encoding):
    raise UserError(
      f'attention.implementation: fused attention cannot run hook {hook} of {name_of(encoding)}; '
      'use blockwise, or an encoding of queries and keys alone, such as rope'
    )


def has_cudnn(T: int, S: int, width: int, dtype: jax.typing.DTypeLike) -> bool:
  """Returns whether cuDNN runs: 16 bits, even lengths, width at most 128 and a multiple of 8."""
  if jax.default_backend() != 'gpu' or dtype not in NARROW:
    return False
  return T % 2 == S % 2 == width % 8 == 0 and width <= 128


def fused(q: AttentionInput, k: AttentionInput, *, causal: bool, window: int) -> jax.Array:
  """Returns softmax(q . k) v; see `attend`."""
  mask = visible(q, k, causal=causal, window=window)
  width, H = k.h.shape[-1], k.v.shape[-1]
  # Values must be as wide as keys, and an encoding may have widened the keys.
  v_BSKH = jnp.pad(k.v, [(0, 0)] * 3 + [(0, width - H)])
  o_BTNH = jax.nn.dot_product_attention(
    q.h, k.h, v_BSKH, mask=mask, scale=1.0,
    implementation='cudnn' if has_cudnn(*mask.shape[2:], width, q.h.dtype) else 'xla',
  )[..., :H]
  # A query that sees no key would return the mean of all values.
  return jnp.where(jnp.any(mask, axis=-1).swapaxes(1, 2)[..., None], o_BTNH, 0)
