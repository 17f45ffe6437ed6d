"""Names in Chinese news: does a tagger need positions?

Encoders of the characters of package:names_zh, with BIO tags of persons, places and organisations.
An encoder without positions knows a character and which others are in the sentence.

Criterion, written before the sweep: the difference of an arm with positions and nope, paired by
seed, excludes 0 in entity F1 at 128 tokens (95 % interval by Student's t over the seeds);
otherwise positions do not matter here.

The arm rope takes 48 s of CPU with seed 0 (1 December 2026).
"""

TASK = (
  '--config.task.name=tag',
  '--config.task.tag.classes=7',
  '--config.task.tag.spaces=false',
  '--config.data.corpus=package:names_zh',
  '--config.data.fields=tokens,tags',
  '--config.train.steps=600',
  '--config.optimizer.warmup=60',
  '--config.train.length=128',
  '--config.evaluate.multiples=1,2',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in ('rope', 't5', 'nope')}
SEEDS = (0, 1, 2)
