"""Randomized positions, bucket sort: do draws from a longer range work at longer lengths?

Ruoss et al. 2023, "Randomized positional encodings boost length generalization of Transformers",
ACL, arXiv 2305.16843: an encoder whose positions are ordered random draws from 0 to 2,047, in
training and in tests. Here strings of up to 20 tokens in training and of up to 100 in tests, and
draws from 512 places. The released code has a relative encoding whose table lacks the keys after a
query: the arm `released`; Transformer-XL has both sides in the other arms. Its other tasks:
--config.task.name=, docs/tasks.md.
"""

import numpy as np

from posjax.sweep.experiment import Claim, Tier

TASK = (
  '--config.task.name=bucket_sort', '--config.train.length=40', '--config.train.batch=32',
  '--config.train.steps=2000', '--config.checkpoint.every=2000',
  '--config.evaluate.multiples=1,1.5,2,3,5',  # strings of 20, 30, 40, 60 and 100 tokens
)
PLAIN = ('rope', 'sinusoidal', 'transformer_xl')


def randomized(name):
  return (
    f'--config=configs/{name}.py', f'--config.encoding.layers=randomize+{name}',
    '--config.encoding.randomize.places=512', *TASK,
  )


ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in PLAIN}
ARMS |= {f'randomize+{name}': randomized(name) for name in PLAIN}
ARMS['released'] = (
  *randomized('transformer_xl'), '--config.encoding.transformer_xl.one_sided=True',
)
SEEDS = (10, 11, 12)
RATES = (1e-3, 3e-3)
MEASURE = 'bucket_sort', 'token accuracy'
LONGER = (60, 80, 120, 200)  # tokens of rows


def gain(at, name):
  """Returns the gain by randomized positions, the mean over the lengths beyond the trained one."""
  return np.mean([at(f'randomize+{name}', n) - at(name, n) for n in LONGER], axis=0)


CLAIMS = tuple(
  Claim(
    f'randomized positions raise the token accuracy of {name} by at least 0.05 at longer lengths',
    lambda at, name=name: gain(at, name), above=0.05, learned=(name, f'randomize+{name}'),
    paper='12.0 points on average over 15 tasks (abstract)',
  ) for name in PLAIN
)
CLAIMS += (
  Claim(
    'the released table, without later keys, is at least 0.05 worse than the complete one',
    lambda at: np.mean(
      [at('randomize+transformer_xl', n) - at('released', n) for n in LONGER], axis=0
    ), above=0.05, learned=('randomize+transformer_xl', 'released'),
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=50000', '--config.train.batch=128'),
    needs='one H100 or H200; not run so far',
  ),
}
