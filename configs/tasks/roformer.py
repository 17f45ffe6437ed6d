"""RoFormer: BERT's encoder with rotary positions (Su et al. 2021, arXiv 2104.09864).

`python -m posjax.main --config=configs/tasks/roformer.py`, two CPU cores, 2026-12-01, 28 s: 1.692
nats per covered byte at 64 bytes, 1.687 at 128; one seed.
"""

from configs.tasks import bert


def get_config(size='tiny'):
  config = bert.get_config(size)
  config.encoding = dict(layers=('rope',), rope=dict(layout='interleaved'))
  config.evaluate.multiples = (1, 2)
  return config
