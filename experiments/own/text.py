"""Sixteen encodings with equal tuning: language modeling, within the trained length and beyond it.

Each arm tries three learning rates with one seed, and then runs with three other seeds. There is no
claim: this is one of the measurements behind the decision table of the README, next to
experiments/own/flip_flop.py, copying.py and retrieval.py.
"""

from posjax.sweep.experiment import Tier

NAMES = (
  'nope', 'sinusoidal', 'rope', 'xpos', 'randomize', 'transformer_xl', 'alibi', 't5', 'kerple',
  'fire', 'dape', 'cope', 'fox', 'stick_breaking', 'path', 'rnope_swa',
)
ARMS = {
  name: (f'--config=configs/{name}.py', '--config.evaluate.multiples=1,2,4,8,16') for name in NAMES
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
POOL = 'text64'  # runs that several experiments share
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000',), size='small', needs='one H100 or H200; not run so far',
  ),
}
