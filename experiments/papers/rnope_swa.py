"""RNoPE-SWA: do layers without positions, between windowed RoPE layers, retrieve from far away?

Yang et al. 2025, "RoPE to NoPE and back again", arXiv 2501.18795: alternating them, the model keeps
its loss and finds needles at long contexts where RoPE alone does not. Here a value is retrieved by
its key, trained on rows of 32 tokens. The control has RoPE in place of no positions: if it is as
good, the windows help, not the layers without positions.
"""

from posjax.sweep.experiment import Claim, Tier

TASK = (
  '--config.task.name=key_value', '--config.train.length=32', '--config.train.batch=32',
  '--config.train.steps=600', '--config.checkpoint.every=600', '--config.optimizer.warmup=60',
  '--config.evaluate.multiples=1,2,4,8',
)
WINDOWS = '--config.model.windows=8,0'
ARMS = {
  'rope': ('--config=configs/rope.py', *TASK),
  'rnope_swa': ('--config=configs/rnope_swa.py', WINDOWS, *TASK),
  'rope_swa': (
    '--config=configs/rope.py', '--config.encoding.layers=rope,rope', WINDOWS, *TASK,
  ),
  'alibi': ('--config=configs/alibi.py', *TASK),
  'fox': ('--config=configs/fox.py', *TASK),
  't5': ('--config=configs/t5.py', *TASK),
}
SEEDS = (10, 11, 12, 13, 14)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'mqar', 'token accuracy'
FAR = dict(test='far')
CLAIMS = (
  Claim(
    'at eight times the length, with all queries at the end, RNoPE-SWA is at least 0.1 better than '
    'RoPE',
    lambda at: at('rnope_swa', 256, **FAR) - at('rope', 256, **FAR), above=0.1,
    learned=('rnope_swa', 'rope'),
    paper='8 B weights: better than RoPE in needle tests of long contexts (no size of ours)',
  ),
  Claim(
    'control: it is better than RoPE with the same windows',
    lambda at: at('rnope_swa', 256, **FAR) - at('rope_swa', 256, **FAR), above=0,
    learned=('rnope_swa', 'rope_swa'),
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=10000',), size='small',
    needs='one H100 or H200; not run so far',
  ),
}
