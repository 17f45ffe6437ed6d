"""Retrieval: which encodings find a value by its key in rows longer than the trained ones?

An easy form of multi-query associative recall (Arora et al. 2023, arXiv 2312.04927), 600 steps of
32 rows of 32 tokens; tests have 32 to 256 tokens, with queries at random and with all of them at
the end (`far`). Longer tests are meaningful only for encodings that have learned the task: at least
0.95 token accuracy at 32. Three seeds, at the best of three learning rates.
"""

NAMES = (
  'nope', 'sinusoidal', 'rope', 'xpos', 'randomize', 'transformer_xl', 'alibi', 't5', 'kerple',
  'fire', 'dape', 'cope', 'fox', 'stick_breaking', 'path', 'rnope_swa',
)
TASK = (
  '--config.task.name=key_value', '--config.train.length=32', '--config.train.batch=32',
  '--config.train.steps=600', '--config.checkpoint.every=600', '--config.optimizer.warmup=60',
  '--config.evaluate.multiples=1,2,4,8',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in NAMES}
# A window within the trained length, as in the config for longer rows.
ARMS['rnope_swa'] = (*ARMS['rnope_swa'], '--config.model.windows=8,0')
SEEDS = (10, 11, 12)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'mqar', 'token accuracy'
