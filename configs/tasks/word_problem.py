"""Products of group elements, with PaTH (Merrill et al. 2024, arXiv 2404.08819).

`python -m posjax.main --config=configs/tasks/word_problem.py`
`python -m posjax.main --config=configs/tasks/word_problem.py --config.task.word_problem.group=A5`
"""

from configs import path


def get_config(size='tiny'):
  config = path.get_config(size)
  config.task = dict(
    name='word_problem',
    word_problem=dict(
      group='S3',  # S3, S5, A5, Z60, …, or a product, such as A4xZ5
    ),
  )
  config.train.steps = 2000
  config.train.batch = 64
  config.train.length = 16
  config.optimizer.warmup = 100
  config.evaluate.multiples = (1, 2, 4)
  return config
