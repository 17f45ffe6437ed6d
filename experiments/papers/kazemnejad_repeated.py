"""Kazemnejad, repeated: do models without positions repeat a letter more often than in training?

Kazemnejad et al. 2023, "The impact of positional encoding on length generalization in
Transformers", NeurIPS, arXiv 2305.19466: a decoder without positions generalizes best to longer
problems, T5's bias next; ALiBi, rotary and absolute positions are worse. Their models do not divide
scores by the root of the head size, and rotate a quarter of each head: the arms ending in _raw and
rope_quarter. The measure is exact match, as in the paper.
"""

import numpy as np

from posjax.sweep.experiment import Claim, Tier

TASK = (
  '--config.task.name=copy_repeated', '--config.train.length=42', '--config.train.batch=32',
  '--config.train.steps=1500', '--config.checkpoint.every=1500',
  '--config.evaluate.multiples=1,1.25,1.5,1.75,2',
)
RAW = '--config.model.query_scale=1.0'
ARMS = {
  'nope': ('--config=configs/nope.py', *TASK),
  't5': ('--config=configs/t5.py', *TASK),
  'alibi': ('--config=configs/alibi.py', *TASK),
  'rope': ('--config=configs/rope.py', *TASK),
  # Rows for the tests; those beyond the trained length are never trained.
  'learned': ('--config=configs/learned.py', '--config.encoding.learned.length=96', *TASK),
  'rope_quarter': ('--config=configs/rope.py', '--config.encoding.rope.fraction=0.25', *TASK),
  'nope_raw': ('--config=configs/nope.py', RAW, *TASK),
  't5_raw': ('--config=configs/t5.py', RAW, *TASK),
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2)
MEASURE = 'copy_repeated', 'token accuracy'
LONGER = (52, 63, 74, 84)  # tokens of rows with 25, 30, 36 and 41 copies


def longer(at, arm):
  """Returns the mean over all tested sizes beyond the trained one."""
  return np.mean([at(arm, n, metric='exact match') for n in LONGER], axis=0)


CLAIMS = (
  Claim(
    'beyond the trained length, no positions beat RoPE, ALiBi and learned positions',
    lambda at: longer(at, 'nope') - np.max(
      [longer(at, arm) for arm in ('rope', 'alibi', 'learned')], axis=0
    ), above=0, learned=('nope',),
    paper='exact match at 21 to 40 of training 2 to 20: no positions 0.99, T5 0.77, ALiBi 0.29, '
    'rotary (a quarter) 0.00, sinusoids 0.00 (their logs)',
  ),
  Claim(
    'beyond the trained length, T5 beats RoPE, ALiBi and learned positions',
    lambda at: longer(at, 't5') - np.max(
      [longer(at, arm) for arm in ('rope', 'alibi', 'learned')], axis=0
    ), above=0, learned=('t5',),
  ),
  Claim(
    'learned positions are worse than RoPE beyond the trained length',
    lambda at: longer(at, 'learned') - longer(at, 'rope'), below=0, learned=('learned', 'rope'),
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=20000',), size='small', needs='one H100 or H200; not run so far',
  ),
}
