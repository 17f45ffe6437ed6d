"""Shapes: which encodings tell above left from below right, also on a grid of twice the size?

A plus and a cross are on a grid of 8 x 8 cells among distractors; the class is the direction from
one to the other, see posjax/tasks/shapes.py. A bag of patches tells nothing of it: the guess is
1/4. On the test grids of 16 x 16 cells, the cells are the same and have the same distance (kept,
centered) or half of it (scaled). In reading order, above and below are before and after, at any
width; left and right depend on the width: a step down is 8 tokens on the trained grid, then 16.

The arm rope_line reads the cells in reading order, nope a bag of cells. alibi_nd knows distances,
not directions: a mirrored image, which is of another class, has the same outputs. Training has 400
steps of 16 images, 20 CPU seconds a run. Heo et al. 2024, arXiv 2403.13298, has RoPE of both axes.
The bounds were written before the sweep, and after a run of each arm but nope with seed 0 and a
single rate.
"""

import numpy as np

from posjax.sweep.experiment import Claim

NAMES = ('sincos_nd', 'rope_nd', 'rope_mixed', 'alibi_nd', 'nope')
TASK = (
  '--config.task.name=shapes', '--config.train.length=64', '--config.train.batch=16',
  '--config.train.steps=400', '--config.optimizer.warmup=40', '--config.checkpoint.every=400',
  '--config.evaluate.multiples=1,4',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in NAMES}
ARMS['rope_line'] = ('--config=configs/rope.py', *TASK, '--config.task.shapes.positions=line')
SEEDS = (10, 11, 12)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'kept', 'accuracy'

SMALL, LARGE = 64, 256  # tokens: grids of 8 x 8 and of 16 x 16 cells

CLAIMS = (
  Claim(
    'without positions, the accuracy is that of a guess, 0.25, to 0.1',
    lambda at: np.maximum(at('nope', SMALL), at('nope', LARGE)), below=0.35, null=None,
  ),
  Claim(
    'RoPE of both axes keeps an accuracy of 0.7 on the large grid, with kept places',
    lambda at: at('rope_nd', LARGE), above=0.7, null=None, learned=('rope_nd',),
  ),
  Claim(
    'on the trained grid, RoPE of both axes is better than in reading order by 0.1',
    lambda at: at('rope_nd', SMALL) - at('rope_line', SMALL), above=0.1, learned=('rope_nd',),
  ),
  Claim(
    'on the large grid, with kept places, it is better by 0.3',
    lambda at: at('rope_nd', LARGE) - at('rope_line', LARGE), above=0.3, learned=('rope_nd',),
  ),
  Claim(
    'sinusoids lose 0.2 on the large grid with kept places',
    lambda at: at('sincos_nd', SMALL) - at('sincos_nd', LARGE), above=0.2,
    learned=('sincos_nd',),
  ),
  Claim(
    'sinusoids lose less with places scaled into the trained ones than with kept places',
    lambda at: at('sincos_nd', LARGE, test='scaled') - at('sincos_nd', LARGE), above=0,
    learned=('sincos_nd',),
  ),
  Claim(
    'ALiBi of both axes, to which a mirrored image is the same, is as good as a guess, to 0.1',
    lambda at: at('alibi_nd', SMALL), below=0.35, null=None,
  ),
)
