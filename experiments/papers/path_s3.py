"""PaTH, S3 and A5: does it solve the word problems of groups at two layers?

Yang et al. 2025, "PaTH attention", arXiv 2505.16381; Merrill et al. 2024, "The illusion of state in
state-space models", arXiv 2404.08819. A token is an element of the group S3, the label the product
of all elements so far; 16 tokens in training. A product of three elements needs more than one
reflection, so that the model has two layers. A5, with 60 elements, is the tier gpu: at this size
it cannot be judged.
"""

import numpy as np

from posjax.sweep.experiment import Claim, Tier

TASK = (
  '--config.task.name=word_problem', '--config.train.length=16', '--config.train.batch=64',
  '--config.train.steps=4000', '--config.checkpoint.every=4000',
  '--config.evaluate.multiples=1,2,4',
)
RIVALS = 'rope', 'fox'
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in ('path', *RIVALS)}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2)
MEASURE = 'word_problem', 'last accuracy'
CLAIMS = (
  Claim(
    'PaTH solves S3 within the trained length', lambda at: at('path', 16), above=0.95, null=None,
    paper='word problems are solved almost perfectly (no size of ours)',
  ),
  Claim(
    'PaTH is at least 0.2 better than RoPE and FoX within the trained length',
    lambda at: at('path', 16) - np.max([at(arm, 16) for arm in RIVALS], axis=0), above=0.2,
  ),
)
TIERS = {
  'gpu': Tier(
    (
      '--config.task.word_problem.group=A5', '--config.train.steps=20000',
      '--config.train.batch=256',
    ),
    needs='one H100 or H200; not run so far',
  ),
}
