"""Speech recognition by CTC, with Transformer-XL's attention, as in Conformer's, in an encoder.

Conformer: Gulati et al. 2020, arXiv 2005.08100; its convolutions are left out.

`python -m posjax.main --config=configs/tasks/speech.py`, one busy CPU core, 2026-12-01: 94 s, of
which 17 s on the core; seed 0, 128 rows in each test: word error 0.000 at 64 frames and 0.005 at
128, of late speech 0.008 and 0.003.

An encoder-decoder: `--config.model.form=encoder_decoder`. A synthesizer in place of tones:
`--config.task.speech.sounds=espeak`, with `pip install -e '.[speech]'`; see docs/speech.md.
"""

from configs import transformer_xl


def get_config(size='tiny'):
  config = transformer_xl.get_config(size)
  config.task = dict(
    name='speech',
    speech=dict(
      sounds='tones',  # of letters, or 'espeak': words of a synthesizer
    ),
  )
  config.train.steps = 300
  config.optimizer.warmup = 30
  config.evaluate.multiples = (1, 2)
  return config
