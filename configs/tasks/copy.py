"""Copy a string of random symbols, with RoPE (Jelassi et al. 2024, arXiv 2402.01032).

`python -m posjax.main --config=configs/tasks/copy.py`
"""

from configs import rope


def get_config(size='tiny'):
  config = rope.get_config(size)
  config.task = dict(
    name='copy',
    copy=dict(
      symbols=16,  # letters to draw from
    ),
  )
  config.train.length = 42  # strings of up to 20 symbols
  config.train.batch = 32
  config.evaluate.multiples = (1, 2)
  return config
