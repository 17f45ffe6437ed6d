"""RoFormer: is RoPE relative by construction, and does a language model learn faster with it?

Su et al. 2021, arXiv 2104.09864: the score of a rotated query and key depends on their distance
only (equation 16), and a model with RoPE converges faster than with sinusoidal or learned positions
(figure 3). The paper's difference in translation, 27.5 to 27.3 BLEU, is smaller than the noise of
any run of this size: it has no claim here. experiments/papers/roformer_masked.py has masked
language modeling.
"""

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings import Bound, Positions, find
from posjax.sweep.experiment import Claim, Exact, Tier

ARMS = {
  'rope': ('--config=configs/rope.py', '--config.evaluate.multiples=1,2,4,8,16'),
  'sinusoidal': ('--config=configs/sinusoidal.py', '--config.evaluate.multiples=1,2,4,8,16'),
  'learned': ('--config=configs/learned.py', '--config.evaluate.multiples=1,2,4,8,16'),
}
SEEDS = (10, 11, 12, 13, 14)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share

VARIANTS = (
  dict(), dict(layout='interleaved'), dict(fraction=0.5), dict(base=500_000.0),
  dict(scaling=dict(rope_type='linear', factor=4.0)),
  dict(scaling=dict(rope_type='proportional', partial_rotary_factor=0.75)),
)


def identity_error() -> float:
  """Returns the largest |q_m . k_n - q_(m-n) . k_0| over variants, heads and pairs."""
  T, H = 512, 16
  q_BTNH, k_BTNH = jax.random.normal(jax.random.key(0), (2, 1, 1, 4, H))
  errors = []
  for variant in VARIANTS:
    rope = Bound(find('rope')(**variant).with_dims(Dims(N=4, K=4, H=H)))

    def rotated(hook, h, pos, rope=rope):
      order = jnp.arange(len(pos))[None]
      at = Positions(pos[None, :, None], order, jnp.zeros_like(order))
      h_BTNH = jnp.broadcast_to(h, (1, len(pos), 4, H))
      return getattr(rope, hook)(at.attach(h_BTNH, h_BTNH)).h[0]

    pos = jnp.arange(T)
    scores = jnp.einsum(
      'mnh,snh->nms', rotated('query', q_BTNH, pos), rotated('key', k_BTNH, pos)
    )
    distances = jnp.arange(1 - T, T)
    alone = jnp.einsum(
      'mnh,snh->nm', rotated('query', q_BTNH, distances), rotated('key', k_BTNH, pos[:1])
    )
    errors.append(jnp.abs(scores - alone[:, pos[:, None] - pos + T - 1]).max())
  return float(jnp.max(jnp.stack(errors)))


def area(at, arm):
  return at(arm, 64, test='training', metric='loss')


CLAIMS = (
  Exact(
    'the score of two rotated vectors depends on their distance only, for six variants in float32',
    identity_error, below=1e-4, paper='equation 16: exact',
  ),
  Claim(
    'RoPE has a lower mean training loss than sinusoidal embeddings',
    lambda at: area(at, 'rope') - area(at, 'sinusoidal'), below=0,
    paper='figure 3: a lower loss at every step',
  ),
  Claim(
    'RoPE has a lower mean training loss than learned positions',
    lambda at: area(at, 'rope') - area(at, 'learned'), below=0,
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small', seeds=(10, 11, 12),
    needs='one H100 or H200; not run so far',
  ),
}
