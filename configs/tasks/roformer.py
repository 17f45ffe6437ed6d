"""RoFormer: BERT's encoder with rotary positions (Su et al. 2021, arXiv 2104.09864).

`python -m posjax.main --config=configs/tasks/roformer.py`
"""

from configs.tasks import bert


def get_config(size='tiny'):
  config = bert.get_config(size)
  config.encoding = dict(layers=('rope',), rope=dict(layout='interleaved'))
  config.evaluate.multiples = (1, 2)
  return config
