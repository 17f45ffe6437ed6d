"""Translation into French: do positions in encoder and decoder help with messages of programs?

1,704 pairs to train on, 94 to test, of which 81 fit into rows of 64 bytes. Training has 300 steps
of 16 rows of 64. The causal mask lets a decoder without positions learn the order of its tokens; to
an encoder without them, a text is a bag of bytes. Positions help if the difference of nats/token,
an encoding minus nope, is below 0 over the three seeds: the 95 % interval of the paired difference
excludes 0. Otherwise positions do not matter here. The test at 128 has longer pairs, too, and is
meaningful only where positions help at 64.
"""

TASK = '--config.task.name=translate', '--config.evaluate.multiples=1,2'
DATA = '--config.data.corpus=package:gettext_fr', '--config.data.fields=source,target'
STEPS = '--config.train.steps=300', '--config.optimizer.warmup=30'
ARMS = {
  name: (f'--config=configs/{name}.py', *TASK, *DATA, *STEPS) for name in ('rope', 't5', 'nope')
}
SEEDS = (0, 1, 2)
