"""DAPE: does a network that reads score and bias together improve the bias on long texts?

Zheng et al. 2024, "DAPE: data-adaptive positional encoding for length extrapolation", NeurIPS,
arXiv 2405.14722: a network refines the bias of ALiBi, KERPLE or FIRE; trained at 128 or 512 and
tested to 8,192. The paper's data (Books3) is withdrawn; here it is the source code of Python.
"""

from posjax.sweep.experiment import Claim, Tier

ARMS = {
  name: (f'--config=configs/{name}.py', '--config.evaluate.multiples=1,2,4,8,16')
  for name in ('kerple', 'dape')
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share

CLAIMS = (
  Claim(
    'DAPE on KERPLE has a lower loss than KERPLE at eight times the trained length',
    lambda at: at('dape', 512) - at('kerple', 512), below=0,
    paper='lower perplexity than its base at every length to 8,192',
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'pod': Tier(size='base', judges=False, needs='a TPU v5e-32; not run so far'),
}
