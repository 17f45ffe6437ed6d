"""Answer in a dialogue, with RoPE.

`python -m posjax.main --config=configs/tasks/dialogue.py`, two busy CPU cores, 2026-12-01: 115 s,
of which 30 s on a core; seed 0: 2.24 nats per byte of a reply at 128 bytes.
"""

from configs import rope


def get_config(size='tiny'):
  config = rope.get_config(size)
  config.task = dict(
    name='dialogue',
    dialogue=dict(
      positions='running',  # or 'turn': positions restart in each turn
    ),
  )
  config.data.corpus = 'package:dialogue'
  config.data.fields = ('turns',)
  config.train.length = 128
  config.train.steps = 400
  config.optimizer.warmup = 40
  config.evaluate.multiples = (1, 2)
  return config
