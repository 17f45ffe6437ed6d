"""Shapes: where is the plus, seen from the cross? An encoder with RoPE of row and column.

`python -m posjax.main --config=configs/tasks/shapes.py`, 18 CPU seconds, 1 December 2026: accuracy
1.00 on 8 x 8 cells, and 0.87 on 16 x 16, 1.00 with scaled places (one seed, 256 test images).
"""

from configs import rope_nd


def get_config(size='tiny'):
  config = rope_nd.get_config(size)
  config.task = dict(
    name='shapes',
    shapes=dict(
      positions='grid',  # (row, column); 'line': reading order, for an encoding of one axis
      clutter=0.25,  # share of the other cells with a distractor
    ),
  )
  config.train.steps = 400
  config.train.length = 64  # 8 x 8 cells
  config.optimizer.warmup = 40
  config.evaluate.multiples = (1, 4)  # 8 x 8 and 16 x 16 cells
  return config
