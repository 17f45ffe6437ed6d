"""xPos: does a decay of rotary scores, with attention in blocks, keep long inputs stable?

Sun et al. 2023, "A length-extrapolatable Transformer", ACL, arXiv 2212.10554: rotary positions with
an exponential decay, and attention limited to the blocks around a query in evaluation. Here the
limit is a window of the trained length, which changes nothing in training. The control is RoPE with
the same window: if it is as good, the window is what keeps the inputs stable.
"""

from posjax.sweep.experiment import Claim, Tier

WINDOW = '--config.model.windows=64'
ARMS = {
  'rope': ('--config=configs/rope.py', '--config.evaluate.multiples=1,2,4,8,16'),
  'xpos': ('--config=configs/xpos.py', '--config.evaluate.multiples=1,2,4,8,16'),
  'xpos+window': ('--config=configs/xpos.py', WINDOW, '--config.evaluate.multiples=1,2,4,8,16'),
  'rope+window': ('--config=configs/rope.py', WINDOW, '--config.evaluate.multiples=1,2,4,8,16'),
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share

CLAIMS = (
  Claim(
    'xPos with a window loses at most 0.1 bits at eight times the trained length',
    lambda at: at('xpos+window', 512) - at('xpos+window', 64), below=0.1,
    paper='trained at 1,024, perplexity falls up to 2,048 and 4,096',
  ),
  Claim(
    'xPos with a window has a lower loss than RoPE at eight times the trained length',
    lambda at: at('rope', 512) - at('xpos+window', 512), above=0,
  ),
  Claim(
    'control: xPos with a window has a lower loss than RoPE with the same window',
    lambda at: at('rope+window', 512) - at('xpos+window', 512), above=0,
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'pod': Tier(size='base', judges=False, needs='a TPU v5e-32; not run so far'),
}
