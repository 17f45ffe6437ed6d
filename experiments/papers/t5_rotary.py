"""T5 and rotary positions: in which order do encodings fail on longer texts?

Press et al. 2022, arXiv 2108.12409, figure 1: beyond the trained length, sinusoidal embeddings are
worst, rotary ones better, T5's bias better still, but slow. Time is no claim here: on the fused
path of posjax T5 takes 2 to 10 % longer than no encoding (docs/costs.md).
"""

from posjax.sweep.experiment import Claim, Tier

ARMS = {
  name: (f'--config=configs/{name}.py', '--config.evaluate.multiples=1,2,4,8,16')
  for name in ('sinusoidal', 'rope', 't5')
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share

CLAIMS = (
  Claim(
    'T5 has a lower loss than RoPE at eight times the trained length',
    lambda at: at('rope', 512) - at('t5', 512), above=0,
    paper='figure 1: T5 bias above rotary above sinusoidal at every longer length',
  ),
  Claim(
    'RoPE has a lower loss than sinusoidal embeddings at eight times the trained length',
    lambda at: at('sinusoidal', 512) - at('rope', 512), above=0,
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'pod': Tier(size='base', judges=False, needs='a TPU v5e-32; not run so far'),
}
