"""Translation into Chinese: do positions in encoder and decoder help with messages of programs?

3,947 pairs to train on, 219 to test; rows have 64 bytes, and most Chinese characters have three.
Training has 400 steps of 16 rows. Positions help if the difference of nats/token, an encoding minus
nope, is below 0 over the three seeds: the 95 % interval of the paired difference excludes 0.
Otherwise positions do not matter here. See translate_fr.py.
"""

TASK = (
  '--config.task.name=translate', '--config.task.translate.words=zh',
  '--config.evaluate.multiples=1,2',
)
DATA = '--config.data.corpus=package:gettext_zh', '--config.data.fields=source,target'
STEPS = '--config.train.steps=400', '--config.optimizer.warmup=40'
ARMS = {
  name: (f'--config=configs/{name}.py', *TASK, *DATA, *STEPS) for name in ('rope', 't5', 'nope')
}
SEEDS = (0, 1, 2)
