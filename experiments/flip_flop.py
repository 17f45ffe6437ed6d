"""Flip-flop: which encodings recall the last written bit, far back and among few writes?

Liu et al. 2023, arXiv 2306.00946: Transformers make errors in long and sparse texts. Training has
400 steps of 16 rows of 64 tokens; tests have 64 and 256 tokens. Other tests are meaningful only for
encodings that have learned the task: at least 0.95 of reads correct at the trained length and
density. Three seeds, at the best of three learning rates.
"""

NAMES = (
  'nope', 'sinusoidal', 'rope', 'xpos', 'randomize', 'transformer_xl', 'alibi', 't5', 'kerple',
  'fire', 'dape', 'cope', 'fox', 'stick_breaking', 'path', 'rnope_swa',
)
TASK = (
  '--config.task.name=flip_flop', '--config.evaluate.multiples=1,4', '--config.train.steps=400',
  '--config.optimizer.warmup=40',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in NAMES}
SEEDS = (10, 11, 12)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'as trained', 'reads right'
