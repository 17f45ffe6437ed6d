"""Flip-flop: which encodings find the last bit that was written, far away and among few writes?

Liu et al. 2023, arXiv 2306.00946: a Transformer makes errors in long and in sparse texts. Rows of
64 tokens, 400 steps of 16; tests of 64 and 256 tokens. An encoding must have learned the task, 0.95
of the reads of its own length and density at least, before the other tests mean anything.
"""

TASK = '--config.task.name=flip_flop', '--config.evaluate.multiples=1,4'
STEPS = '--config.train.steps=400', '--config.optimizer.warmup=40'
ARMS = {
  name: (f'--config=configs/{name}.py', *TASK, *STEPS)
  for name in ('nope', 'rope', 'alibi', 't5', 'cope', 'fox', 'stick_breaking', 'path')
}
SEEDS = (0, 1, 2)
