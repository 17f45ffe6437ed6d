"""Span answers: does pointing at the word after a given letter need positions?

Generated lists of words, each after a capital letter; see posjax/tasks/span.py. At 128 and 256
tokens words are up to 14 and 30 letters long, 6 in training.

Criterion, written before the sweep: the difference of an arm with positions and nope, paired by
seed, excludes 0 in exact match at 64 tokens (95 % interval by Student's t over the seeds);
otherwise positions do not matter here.

The arm rope takes 37 s of CPU with seed 0 (1 December 2026).
"""

TASK = (
  '--config.task.name=span',
  '--config.train.steps=1200',
  '--config.optimizer.warmup=120',
  '--config.train.length=64',
  '--config.evaluate.multiples=1,2,4',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in ('rope', 't5', 'nope')}
SEEDS = (0, 1, 2)
