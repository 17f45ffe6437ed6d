"""FIRE: does a learned function of the log distance, scaled by the position, extrapolate?

Li et al. 2024, "Functional interpolation for relative positions", ICLR, arXiv 2310.04418: the best
loss on long texts after training on short ones. Differences to ALiBi and KERPLE are reported
without a claim.
"""

from posjax.sweep.experiment import Claim, Tier

ARMS = {
  name: (f'--config=configs/{name}.py', '--config.evaluate.multiples=1,2,4,8,16')
  for name in ('fire', 'kerple', 'alibi', 't5', 'rope')
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share

CLAIMS = (
  Claim(
    'FIRE has a lower loss than T5 at eight times the trained length',
    lambda at: at('fire', 512) - at('t5', 512), below=0,
    paper='trained at 2,048 and tested to 8,192 on C4, FIRE is the best of the compared encodings',
  ),
  Claim(
    'FIRE has a lower loss than RoPE at eight times the trained length',
    lambda at: at('fire', 512) - at('rope', 512), below=0,
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'pod': Tier(size='base', judges=False, needs='a TPU v5e-32; not run so far'),
}
