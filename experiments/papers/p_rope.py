"""p-RoPE: what do RoPE's frequencies do, and are the slowest ones needed?

Barbero et al. 2025, "Round and round we go! What makes rotary positional encodings useful?", ICLR,
arXiv 2410.06205. The fastest frequencies let a head attend to a fixed distance, whatever the
tokens are; a model without positions cannot (theorems 6.1 and 6.2). The slowest frequencies carry
content; without them (p-RoPE) a model of 2 B weights is slightly better. At this size the gain of
p-RoPE is inside the noise: the claim here is only that it does no harm.
"""

import jax.numpy as jnp

from posjax.attention import attend
from posjax.dims import Dims
from posjax.encodings import Bound, Positions, find
from posjax.sweep.experiment import Claim, Exact, Tier


def p_rope(share):
  return (
    '--config=configs/p_rope.py',
    f'--config.encoding.rope.scaling.partial_rotary_factor={share}',
    '--config.evaluate.multiples=1,2,4,8,16',
  )


ARMS = {
  'rope': ('--config=configs/rope.py', '--config.evaluate.multiples=1,2,4,8,16'),
  'p_rope_0.75': p_rope(0.75), 'p_rope_0.5': p_rope(0.5), 'p_rope_0.25': p_rope(0.25),
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share


def least_attention(name: str, distance: int = 3, norm: float = 20.0) -> float:
  """Returns the smallest weight, over queries, on the key `distance` tokens before.

  All tokens are equal. Their query is their key, rotated back by `distance`, and longer: the score
  of RoPE is then largest at that distance.
  """
  T, H = 64, 64
  encoding = Bound(find(name)().with_dims(Dims(N=1, K=1, H=H)))
  order = jnp.arange(T)[None]
  at = Positions(order[..., None], order, jnp.zeros_like(order))
  shifted = Positions(order[..., None] - distance, order, jnp.zeros_like(order))
  h_BTNH = jnp.ones((1, T, 1, H))
  v_BTNH = jnp.eye(T)[None, :, None]  # the output is the weight of each key
  q = encoding.query(shifted.attach(norm * h_BTNH, v_BTNH))
  k = encoding.key(at.attach(h_BTNH, v_BTNH))
  weights = attend(q, k, encoding, causal=True, window=0)[0, :, 0]
  return float(jnp.diagonal(weights, -distance).min())


CLAIMS = (
  Exact(
    'with RoPE a head can attend to the token three places before, whatever the tokens are',
    lambda: least_attention('rope'), above=0.99, paper='theorem 6.1: a construction',
  ),
  Exact(
    'without positions it cannot: with equal tokens it attends to all keys alike, 1/64 at the end',
    lambda: least_attention('nope'), below=1 / 64 + 1e-6, paper='theorem 6.2',
  ),
  Claim(
    'p-RoPE with three quarters of the planes is at most 0.02 bits worse than RoPE',
    lambda at: at('p_rope_0.75', 64) - at('rope', 64), below=0.02,
    paper='2 B weights: a lower perplexity than RoPE with 0.75',
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'pod': Tier(size='large', judges=False, needs='a TPU v5e-256 for days; not run so far'),
}
