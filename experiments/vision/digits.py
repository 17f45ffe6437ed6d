"""Digits: which encodings of row and column keep their accuracy at twice the resolution?

Handwritten digits of 8 x 8 pixels, 1,366 to train on and 360 to test, in 16 patches of 2 x 2. The
test also shows them with 16 x 16 pixels, in 64 patches. Patches are then placed as in training
(kept), about the middle of the trained places (centered), or within them (scaled). Heo et al. 2024,
"Rotary position embedding for vision transformer", arXiv 2403.13298: RoPE of both axes keeps its
accuracy when images have a higher resolution than in training.

The arm rope_line reads patches in reading order, nope reads a bag of patches. Training has 300
steps of 64 images, 20 CPU seconds a run. The bounds were written before the sweep, and after a
run of each arm with seed 0 and a single rate.
"""

import numpy as np

from posjax.sweep.experiment import Claim

DIRECTIONS = ('sincos_nd', 'rope_nd', 'rope_mixed')  # alibi_nd tells distances only
NAMES = (*DIRECTIONS, 'alibi_nd', 'nope')
TASK = (
  '--config.task.name=digits', '--config.data.corpus=package:digits',
  '--config.data.fields=image,label', '--config.train.length=16', '--config.train.batch=64',
  '--config.train.steps=300', '--config.optimizer.warmup=30', '--config.checkpoint.every=300',
  '--config.evaluate.multiples=1,4',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in NAMES}
ARMS['rope_line'] = ('--config=configs/rope.py', *TASK, '--config.task.digits.positions=line')
SEEDS = (10, 11, 12)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'kept', 'accuracy'

SMALL, LARGE = 16, 64  # tokens: images of 8 x 8 and of 16 x 16 pixels

CLAIMS = (
  Claim(
    'each encoding that tells directions is better than none by 0.1, at the trained size',
    lambda at: np.minimum.reduce([at(arm, SMALL) for arm in DIRECTIONS]) - at('nope', SMALL),
    above=0.1,
  ),
  Claim(
    'row and column are better than reading order, for RoPE at the trained size',
    lambda at: at('rope_nd', SMALL) - at('rope_line', SMALL), above=0,
  ),
  Claim(
    'at twice the resolution, with kept places, RoPE of both axes is better than sinusoids by 0.05',
    lambda at: at('rope_nd', LARGE) - at('sincos_nd', LARGE), above=0.05,
    paper='RoPE "maintains precision while increasing image resolution at inference" (abstract)',
  ),
  Claim(
    'sinusoids are better by 0.1 if the places are scaled into the trained ones than if kept',
    lambda at: at('sincos_nd', LARGE, test='scaled') - at('sincos_nd', LARGE), above=0.1,
  ),
  Claim(
    'RoPE of both axes is better if the places are scaled than if kept',
    lambda at: at('rope_nd', LARGE, test='scaled') - at('rope_nd', LARGE), above=0,
  ),
  Claim(
    'sinusoids are better if the places are centered than if kept',
    lambda at: at('sincos_nd', LARGE, test='centered') - at('sincos_nd', LARGE), above=0,
  ),
)
