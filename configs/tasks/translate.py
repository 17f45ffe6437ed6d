"""Translate messages of programs from English into French, with RoPE in encoder and decoder.

`python -m posjax.main --config=configs/tasks/translate.py`, two busy CPU cores, 2026-12-01: 147 s,
of which 25 s on a core; seed 0: 1.43 nats per byte and 0.63 of bytes right at 64 bytes. With 500
steps it fits the 1,704 training pairs, and the validation loss rises.

Chinese: `--config.data.corpus=package:gettext_zh --config.task.translate.words=zh`; German:
`--config.data.corpus=package:gettext_de`. One decoder that reads both texts:
`--config.model.form=decoder`.
"""

from configs import rope


def get_config(size='tiny'):
  config = rope.get_config(size)
  config.task = dict(
    name='translate',
    translate=dict(
      words='13a',  # how BLEU splits texts into words; Chinese: zh
    ),
  )
  config.data.corpus = 'package:gettext_fr'
  config.data.fields = ('source', 'target')
  config.train.steps = 300
  config.optimizer.warmup = 30
  config.evaluate.multiples = (1, 2)
  return config
