"""KERPLE: does a logarithmic kernel extrapolate better than ALiBi's linear one?

Chi et al. 2022, NeurIPS, arXiv 2205.09921, trained at 512 and tested to 16,384: the logarithmic
kernel is better than ALiBi. At this size a test can show that KERPLE stays close to ALiBi at 16
times the trained length; that it is better needs texts with long dependencies, and has no claim
below the tier pod.
"""

from posjax.sweep.experiment import Claim, Tier

ARMS = {
  'kerple': ('--config=configs/kerple.py', '--config.evaluate.multiples=1,2,4,8,16'),
  'kerple_power': (
    '--config=configs/kerple.py', '--config.encoding.kerple.kernel=power',
    '--config.evaluate.multiples=1,2,4,8,16',
  ),
  'alibi': ('--config=configs/alibi.py', '--config.evaluate.multiples=1,2,4,8,16'),
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share

CLAIMS = (
  Claim(
    'KERPLE is at most 0.05 bits worse than ALiBi at 16 times the trained length',
    lambda at: at('kerple', 1024) - at('alibi', 1024), below=0.05,
    paper='five seeds on OpenWebText2, ArXiv and GitHub: a lower perplexity at every length to '
    '16,384',
  ),
  Claim(
    'KERPLE keeps its loss at 16 times the trained length',
    lambda at: at('kerple', 1024) - at('kerple', 64), below=0.05,
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'pod': Tier(size='base', judges=False, needs='a TPU v5e-32; not run so far'),
}
