"""Flip-flop language, with RoPE (Liu et al. 2023, arXiv 2306.00946).

`python -m posjax.main --config=configs/tasks/flip_flop.py`
"""

from configs import rope


def get_config(size='tiny'):
  config = rope.get_config(size)
  config.task = dict(
    name='flip_flop',
    flip_flop=dict(
      ignore=0.8,  # share of ignore instructions in training
    ),
  )
  config.train.steps = 400
  config.optimizer.warmup = 40
  config.evaluate.multiples = (1, 2, 4)
  return config
