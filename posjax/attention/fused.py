"""Attention by `jax.nn.dot_product_attention`, which is cuDNN's on NVIDIA GPUs where it can be.

It knows scores that are products, a softmax and a mask: for encodings that do all that they do to
embeddings, positions, queries and keys. The mask is the one array of T x S that it is given.
"""

import jax
import jax.numpy as jnp

from posjax.attention.mask import visible
from posjax.encodings import name_of, parts_of
from posjax.encodings.core.chain import overrides
from posjax.encodings.core.encoding import HOOKS
from posjax.errors import UserError

NARROW = (jnp.bfloat16, jnp.float16)
BEYOND = 'key block', 'query block', 'pair', 'query'  # what hooks run for that are not there


def unsupported_hook(encoding):
  """The hook that this attention knows nothing of; '' where there is none."""
  parts = parts_of(encoding)
  beyond = [name for name, hook in HOOKS.items() if hook.per in BEYOND]
  return next((name for name in beyond if any(overrides(part, name) for part in parts)), '')


def check_fused(encoding):
  """Raises UserError for an encoding that this attention cannot have."""
  if hook := unsupported_hook(encoding):
    raise UserError(
      f'attention.implementation: fused attention has no {hook}, which {name_of(encoding)} needs; '
      'take blockwise, or an encoding of queries and keys alone, such as rope'
    )


def has_cudnn(T, S, width, dtype):
  """Whether cuDNN takes such heads here: of 16 bits, with lengths and a size that it can divide."""
  if jax.default_backend() != 'gpu' or dtype not in NARROW:
    return False
  return T % 2 == S % 2 == width % 8 == 0 and width <= 128


def fused(q, k, *, causal, window):
  """softmax(q . k) v; see `attend`."""
  mask = visible(q, k, causal=causal, window=window)
  width, H = k.h.shape[-1], k.v.shape[-1]
  # It wants values as wide as keys, which an encoding may have widened.
  v_BSKH = jnp.pad(k.v, [(0, 0)] * 3 + [(0, width - H)])
  o_BTNH = jax.nn.dot_product_attention(
    q.h, k.h, v_BSKH, mask=mask, scale=1.0,
    implementation='cudnn' if has_cudnn(*mask.shape[2:], width, q.h.dtype) else 'xla',
  )[..., :H]
  # A query that sees nothing would gather a mean.
  return jnp.where(jnp.any(mask, axis=-1).swapaxes(1, 2)[..., None], o_BTNH, 0)
