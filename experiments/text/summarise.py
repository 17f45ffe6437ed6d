"""Summaries of docstrings: do positions in encoder and decoder help?

1,738 docstrings of Python 3.11.7 to train on, 96 to test. A summary is the first line; the encoder
reads the first 127 bytes of the other lines, and in the test at 256 the first 255. Training has 300
steps of 16 rows of 128. Positions help if the difference of nats/token, an encoding minus nope, is
below 0 over the three seeds: the 95 % interval of the paired difference excludes 0. Otherwise
positions do not matter here. Both tests have the same summaries: if the test at 256 has a higher
loss, the encoding does not extrapolate; if a lower one, the rest of the document helps.
"""

TASK = '--config.task.name=summarise', '--config.evaluate.multiples=1,2'
DATA = '--config.data.corpus=python:docstrings', '--config.data.fields=document,summary'
STEPS = '--config.train.steps=300', '--config.optimizer.warmup=30'
ROWS = ('--config.train.length=128',)
ARMS = {
  name: (f'--config=configs/{name}.py', *TASK, *DATA, *STEPS, *ROWS)
  for name in ('rope', 't5', 'nope')
}
SEEDS = (0, 1, 2)
