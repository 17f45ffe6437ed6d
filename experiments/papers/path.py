"""PaTH: do accumulated reflections track a state that RoPE cannot track at the same depth?

Yang et al. 2025, "PaTH attention", arXiv 2505.16381: products of Householder matrices solve word
problems of groups. Here five cups are swapped: each swap is a token, and the answer after each is
the cup with the ball. One layer, 16 tokens in training. experiments/papers/path_s3.py has all
elements of a group as tokens.
"""

import numpy as np

from posjax.sweep.experiment import Claim, Tier

TASK = (
  '--config.task.name=cups', '--config.model.layers=1', '--config.train.length=16',
  '--config.train.batch=64', '--config.train.steps=2000', '--config.checkpoint.every=2000',
  '--config.evaluate.multiples=1,2,4',
)
RIVALS = 'rope', 'fox', 'nope'
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in ('path', *RIVALS)}
SEEDS = (10, 11, 12, 13, 14)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'cups', 'last accuracy'
CLAIMS = (
  Claim(
    'one layer of PaTH knows the last cup within the trained length',
    lambda at: at('path', 16), above=0.95, null=None,
    paper='word problems and flip-flop are solved almost perfectly (no size of ours)',
  ),
  Claim(
    'it is at least 0.5 better than the best of RoPE, FoX and no positions',
    lambda at: at('path', 16) - np.max([at(arm, 16) for arm in RIVALS], axis=0), above=0.5,
    learned=('path',),
  ),
  Claim(
    'PaTH knows the last cup at twice the trained length',
    lambda at: at('path', 32), above=0.9, null=None, learned=('path',),
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=10000',),
    needs='one H100 or H200; not run so far',
  ),
}
