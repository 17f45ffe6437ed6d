"""Flip-flop: which encodings recall the last written bit, far back and among few writes?

Liu et al. 2023, arXiv 2306.00946: Transformers make errors in long and sparse texts. Training has
400 steps of 16 rows of 64 tokens; tests have 64 and 256 tokens. Other tests are meaningful only for
encodings that have learned the task: at least 0.95 of reads correct at the trained length and
density.
"""

TASK = '--config.task.name=flip_flop', '--config.evaluate.multiples=1,4'
STEPS = '--config.train.steps=400', '--config.optimizer.warmup=40'
ARMS = {
  name: (f'--config=configs/{name}.py', *TASK, *STEPS)
  for name in ('nope', 'rope', 'alibi', 't5', 'cope', 'fox', 'stick_breaking', 'path')
}
SEEDS = (0, 1, 2)
