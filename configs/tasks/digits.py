"""Digits: 8 x 8 pixels as 4 x 4 patches in an encoder, with sines and cosines of row and column.

`python -m posjax.main --config=configs/tasks/digits.py`, 18 CPU seconds, 1 December 2026: accuracy
0.858 at 8 x 8 pixels, and 0.167 at 16 x 16, 0.453 with scaled places (one seed).
"""

from configs import sincos_nd


def get_config(size='tiny'):
  config = sincos_nd.get_config(size)
  config.task = dict(
    name='digits',
    digits=dict(
      patch=2,  # pixels on each side of a patch
      positions='grid',  # (row, column); 'line': reading order, for an encoding of one axis
      pooling='mean',  # over the patches; 'class': a class token, for rows of one token more
      classes=10,  # different labels
      white=16,  # the largest number of a pixel; 255 for MNIST
    ),
  )
  # Also tfds:mnist, whose splits are 'train[:90%]', 'train[90%:]' and 'test'.
  config.data.corpus = 'package:digits'
  config.data.fields = ('image', 'label')
  config.train.steps = 300
  config.train.batch = 64
  config.train.length = 16  # 4 x 4 patches: images of 8 x 8 pixels
  config.optimizer.warmup = 30
  config.evaluate.multiples = (1, 4)  # 8 x 8 and 16 x 16 pixels
  return config
