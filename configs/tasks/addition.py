"""Addition with position coupling and a learned table (Cho et al. 2024, arXiv 2405.20671).

`python -m posjax.main --config=configs/tasks/addition.py`
"""

from configs import coupling


def get_config(size='tiny'):
  config = coupling.get_config(size)
  config.encoding.coupling.operators = (ord('+'), 258)  # 258: SEP, which stands for '='
  config.encoding.coupling.starts = 11
  config.encoding.learned.length = 64
  config.encoding.learned.stddev = 1.0  # as large as token embeddings
  config.task = dict(
    name='addition',
    addition=dict(
      reverse=True,  # numbers begin with the last digit
      equal=True,  # both operands have the same number of digits
      pad=True,  # zeros fill the answer to one digit more
    ),
  )
  config.train.length = 24  # sums of up to 6 digits
  config.train.batch = 32
  config.train.steps = 2500
  config.evaluate.multiples = (1, 1.25, 1.5, 1.75)  # 6, 8, 10 and 12 digits
  return config
