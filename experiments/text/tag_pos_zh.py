"""Parts of speech in Chinese news: does a tagger need positions?

Encoders of the words of package:pos_zh, with 44 parts of speech. An encoder without positions knows
neither the order of words nor that of the bytes of a word.

Criterion, written before the sweep: the difference of an arm with positions and nope, paired by
seed, excludes 0 in accuracy at 128 tokens (95 % interval by Student's t over the seeds);
otherwise positions do not matter here.

The arm rope takes 46 s of CPU with seed 0 (1 December 2026).
"""

TASK = (
  '--config.task.name=tag',
  '--config.task.tag.classes=44',
  '--config.task.tag.bio=false',
  '--config.data.corpus=package:pos_zh',
  '--config.data.fields=tokens,tags',
  '--config.train.steps=600',
  '--config.optimizer.warmup=60',
  '--config.train.length=128',
  '--config.evaluate.multiples=1,2',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in ('rope', 't5', 'nope')}
SEEDS = (0, 1, 2)
