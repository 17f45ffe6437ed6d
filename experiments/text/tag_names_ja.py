"""Names in Japanese sentences: does a tagger need positions?

Encoders of the words of package:names_ja, with BIO tags of eight kinds of names, times and amounts.
There are only 451 sentences to train on and 24 to test: only a large difference can show.

Criterion, written before the sweep: the difference of an arm with positions and nope, paired by
seed, excludes 0 in entity F1 at 128 tokens (95 % interval by Student's t over the seeds);
otherwise positions do not matter here.

The arm rope takes 23 s of CPU with seed 0 (1 December 2026).
"""

TASK = (
  '--config.task.name=tag',
  '--config.task.tag.classes=17',
  '--config.data.corpus=package:names_ja',
  '--config.data.fields=tokens,tags',
  '--config.train.steps=300',
  '--config.optimizer.warmup=30',
  '--config.train.length=128',
  '--config.evaluate.multiples=1,2',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in ('rope', 't5', 'nope')}
SEEDS = (0, 1, 2)
