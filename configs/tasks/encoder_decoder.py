"""T5: an encoder-decoder that restores spans cut out of a text (Raffel et al. 2020, JMLR 21).

`python -m posjax.main --config=configs/tasks/encoder_decoder.py`

The sizes are those of tiny; the settings are those of T5 1.0: one bias of distance per stack, no
positions between the stacks, RMSNorm before each sublayer, a ReLU, and no factor on queries.
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.task = dict(name='denoise')
  config.encoding = dict(layers=('t5',))
  config.model.form = 'encoder_decoder'
  config.model.mlp.update(gated=False, activation='relu')
  config.model.hidden = 4 * config.model.dim
  config.model.query_scale = 1.0
  config.evaluate.multiples = (1, 2)
  return config
