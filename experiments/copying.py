"""Copy: which encodings copy strings longer than the trained ones?

Jelassi et al. 2024, arXiv 2402.01032; Kazemnejad et al. 2023, arXiv 2305.19466. Training has
strings of up to 20 letters from an alphabet of 16, and 1,000 steps of 32 rows of 42 tokens; tests
have strings of 20 and 41 letters. The test at 41 is meaningful only for encodings that have learned
the task: at least 0.95 token accuracy at 20.
"""

ROWS = '--config.train.length=42', '--config.train.batch=32', '--config.evaluate.multiples=1,2'
ARMS = {
  name: (f'--config=configs/{name}.py', '--config.task.name=copy', *ROWS)
  for name in ('nope', 'rope', 'alibi', 't5', 'kerple', 'fox', 'stick_breaking', 'sinusoidal')
}
SEEDS = (0, 1, 2)
