"""Passkey, with RoPE (Mohtashami and Jaggi 2023, arXiv 2305.16300).

`python -m posjax.main --config=configs/tasks/passkey.py`, a CPU core, 2026-12-01, 42 s of CPU time:
an exact match of 1.000 at 64 tokens, 0.828 at 128 and 0.176 at 256; one seed.
"""

from configs import rope


def get_config(size='tiny'):
  config = rope.get_config(size)
  config.task = dict(
    name='passkey',
    passkey=dict(
      digits=5,  # digits of the key
      filler='noise',  # random small letters, or 'sentences': five short ones, repeated
    ),
  )
  config.train.steps = 2000
  config.optimizer.warmup = 200
  config.evaluate.multiples = (1, 2, 4)
  return config
