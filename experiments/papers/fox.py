"""FoX: does a forget gate replace positions, and extrapolate?

Lin et al. 2025, "Forgetting Transformer", ICLR, arXiv 2503.02130: without any other encoding, a
better loss than RoPE and better extrapolation, at 760 M weights and 48 B tokens. Its author reports
that more training tokens make it extrapolate worse; experiments/own/budget.py measures that.
"""

from posjax.sweep.experiment import Claim, Tier

ARMS = {
  name: (f'--config=configs/{name}.py', '--config.evaluate.multiples=1,2,4,8,16')
  for name in ('fox', 'rope', 'alibi')
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share

CLAIMS = (
  Claim(
    'FoX is at most 0.02 bits worse than RoPE within the trained length',
    lambda at: at('fox', 64) - at('rope', 64), below=0.02,
    paper='760 M weights, LongCrawl64: a lower loss than RoPE',
  ),
  Claim(
    'FoX is at least 0.3 bits better than RoPE at eight times the trained length',
    lambda at: at('rope', 512) - at('fox', 512), above=0.3,
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'pod': Tier(size='base', judges=False, needs='a TPU v5e-32; not run so far'),
}
