"""Abacus and position coupling: do digits that know their place add longer numbers?

McLeish et al. 2024, "Transformers can do arithmetic with the right embeddings", NeurIPS, arXiv
2405.17399: trained on up to 20 digits, up to 99 % exact sums of 100 digits, after a GPU-day. Cho et
al. 2024, "Position coupling", NeurIPS, arXiv 2405.20671. Here numbers of up to 6 digits in
training, last digit first, and 2,500 steps; tests to 12. The rivals may not learn the task within
the trained length at this budget: then the claims are about learning it, too.
"""

import numpy as np

from posjax.sweep.experiment import Claim, Tier

TASK = (
  '--config.task.name=addition', '--config.train.length=24', '--config.train.batch=32',
  '--config.train.steps=2500', '--config.checkpoint.every=2500', '--config.model.dim=128',
  '--config.model.head_dim=32', '--config.model.hidden=384',
  '--config.task.addition.pad=True',
  '--config.evaluate.multiples=1,1.25,1.5,1.75',  # 6, 8, 10 and 12 digits
)
ABACUS = '--config.encoding.abacus.stddev=1', '--config.encoding.abacus.max_offset=10'
ARMS = {
  'coupling': (
    '--config=configs/coupling.py', '--config.encoding.coupling.starts=11',
    '--config.encoding.coupling.operators=43,258',  # '+' and the token before the answer
    '--config.encoding.learned.length=64', '--config.encoding.learned.stddev=1', *TASK,
  ),
  'abacus': ('--config=configs/nope.py', '--config.encoding.layers=abacus+nope', *ABACUS, *TASK),
  'abacus+fire': ('--config=configs/abacus.py', *ABACUS, *TASK),
  'nope': ('--config=configs/nope.py', *TASK),
  'rope': ('--config=configs/rope.py', *TASK),
}
SEEDS = (10, 11, 12)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'addition', 'token accuracy'
EXACT = dict(metric='exact match')
LONG = (36, 42)  # tokens of sums of 10 and of 12 digits


def rivals(at, length, **measure):
  return np.max([at(arm, length, **measure) for arm in ('nope', 'rope')], axis=0)


CLAIMS = (
  Claim(
    'Abacus adds 12 digits exactly at least 0.3 more often than no positions and RoPE',
    lambda at: at('abacus', 42, **EXACT) - rivals(at, 42, **EXACT), above=0.3,
    learned=('abacus',),
    paper='up to 99 % of sums of 100 digits after training on 20 (abstract)',
  ),
  Claim(
    'Abacus with FIRE adds 12 digits exactly at least 0.3 more often than both',
    lambda at: at('abacus+fire', 42, **EXACT) - rivals(at, 42, **EXACT), above=0.3,
    learned=('abacus+fire',),
  ),
  Claim(
    'position coupling has at least 0.3 more digits of 10 and of 12 right than both',
    lambda at: np.mean([at('coupling', n) - rivals(at, n) for n in LONG], axis=0), above=0.3,
    learned=('coupling',), paper='from 30 digits in training to 200',
  ),
  Claim(
    'position coupling adds 10 digits exactly at least 0.3 more often than both',
    lambda at: at('coupling', 36, **EXACT) - rivals(at, 36, **EXACT), above=0.3,
    learned=('coupling',),
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=20000', '--config.model.layers=6'),
    needs='one H100 or H200; not run so far',
  ),
}
