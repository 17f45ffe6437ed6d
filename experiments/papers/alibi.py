"""ALiBi: does a model that is trained on short texts keep its loss on longer ones?

Press et al. 2022, "Train short, test long", arXiv 2108.12409: with inputs longer than those of
training, ALiBi keeps or improves its perplexity, sinusoidal embeddings fail immediately and rotary
ones soon after. Both of the paper's protocols are evaluated: windows without overlap, and sliding
windows, in which every scored token has a long context. Part of the gain on longer windows without
overlap is that fewer tokens have little context (the paper's "early token curse"); the last claim
therefore compares sliding windows.
"""

from posjax.sweep.experiment import Claim, Tier

ARMS = {
  name: (f'--config=configs/{name}.py', '--config.evaluate.multiples=1,2,4,8,16')
  for name in ('alibi', 'sinusoidal', 'rope', 't5')
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share

SLIDING = dict(test='sliding')
CLAIMS = (
  Claim(
    'ALiBi keeps its loss at eight times the trained length',
    lambda at: at('alibi', 512) - at('alibi', 64), below=0.03,
    paper='1.3 B weights trained at 1,024 have, at 2,048, the perplexity of sinusoidal embeddings '
    'trained at 2,048 (abstract)',
  ),
  Claim(
    'sinusoidal embeddings lose at least half a bit per byte at eight times the trained length',
    lambda at: at('sinusoidal', 512) - at('sinusoidal', 64), above=0.5,
  ),
  Claim(
    'ALiBi is at least 0.2 bits better than RoPE at eight times the trained length',
    lambda at: at('rope', 512) - at('alibi', 512), above=0.2,
  ),
  Claim(
    'in sliding windows, where every scored byte has a context, ALiBi keeps its loss, too',
    lambda at: at('alibi', 512, **SLIDING) - at('alibi', 64, **SLIDING), below=0.03,
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'pod': Tier(size='base', judges=False, needs='a TPU v5e-32; not run so far'),
}
