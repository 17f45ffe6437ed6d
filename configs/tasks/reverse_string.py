"""Reverse a bit string with randomized positions (Ruoss et al. 2023, arXiv 2305.16843).

`python -m posjax.main --config=configs/tasks/reverse_string.py`, a CPU core, 2026-12-01, 240 s of
training on a busy machine: token accuracy 0.668 at 40 bits, 0.625 at 80. Without `randomize`, 0.699
and 0.512; a guess reaches 0.5 (one seed).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.task = dict(name='reverse_string')
  config.encoding = dict(
    layers=('randomize+transformer_xl',),
    randomize=dict(
      places=2048,  # positions to draw from
      at_evaluation=True,  # False: unchanged positions outside of training
    ),
    transformer_xl=dict(
      untied=False,  # True: each layer has its own u and v, like W_R
    ),
  )
  config.train.length = 80  # strings of 1 to 40 bits, as in the paper
  config.train.batch = 32
  config.evaluate.multiples = (1, 1.25, 1.5, 2)
  return config
