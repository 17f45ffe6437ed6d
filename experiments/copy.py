"""Copy: which encodings repeat strings longer than those they were trained on?

Jelassi et al. 2024, arXiv 2402.01032; Kazemnejad et al. 2023, arXiv 2305.19466. Strings of up to
20 of 16 letters, 1,000 steps of 32 rows of 42 tokens; tests of strings of 20 and 41. An encoding
must have learned the task, 0.95 of the tokens of strings of 20 at least, before the other test
means anything.
"""

ROWS = '--config.train.length=42', '--config.train.batch=32', '--config.evaluate.multiples=1,2'
ARMS = {
  name: (f'--config=configs/{name}.py', '--config.task.name=copy', *ROWS)
  for name in ('nope', 'rope', 'alibi', 't5', 'kerple', 'fox', 'stick_breaking', 'sinusoidal')
}
SEEDS = (0, 1, 2)
