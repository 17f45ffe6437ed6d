"""Tagging of names of persons, places and organisations in Chinese news, with RoPE in an encoder.

`python -m posjax.main --config=configs/tasks/tag.py`:
entity F1 0.298 at 128 tokens and 0.195 at 256, accuracy 0.913 and 0.926 (one seed, two CPU cores,
1 December 2026).
"""

from configs import rope


def get_config(size='tiny'):
  config = rope.get_config(size)
  config.task = dict(
    name='tag',
    tag=dict(
      classes=7,  # different tags; of BIO tags, O and two for each kind of span
      bio=True,  # tags are O, B-KIND and I-KIND
      spaces=False,  # a space separates two words; False: they are single Chinese characters
    ),
  )
  # Others: package:names_ja with 17 tags; package:pos_zh, parts of speech, with 44 and bio=False.
  config.data.corpus = 'package:names_zh'
  config.data.fields = ('tokens', 'tags')
  config.train.steps = 600
  config.train.length = 128
  config.optimizer.warmup = 60
  config.evaluate.multiples = (1, 2, 4)
  return config
