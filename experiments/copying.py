"""Copy: which encodings copy strings longer than the trained ones?

Jelassi et al. 2024, arXiv 2402.01032; Kazemnejad et al. 2023, arXiv 2305.19466. Training has
strings of up to 20 letters from an alphabet of 16, and 1,000 steps of 32 rows of 42 tokens; tests
have strings of 20, 25, 30 and 41 letters. Longer tests are meaningful only for encodings that have
learned the task: at least 0.95 token accuracy at 20. Three seeds, at the best of three learning
rates.
"""

NAMES = (
  'nope', 'sinusoidal', 'rope', 'xpos', 'randomize', 'transformer_xl', 'alibi', 't5', 'kerple',
  'fire', 'dape', 'cope', 'fox', 'stick_breaking', 'path', 'rnope_swa',
)
TASK = (
  '--config.task.name=copy', '--config.train.length=42', '--config.train.batch=32',
  '--config.evaluate.multiples=1,1.25,1.5,2',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in NAMES}
SEEDS = (10, 11, 12)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'copy', 'token accuracy'
