"""Topics of Reuters news: does a classifier need positions?

Encoders of the texts of package:reuters_r8, of eight topics. An encoder without positions is a bag
of bytes. A bag of words is `python experiments/bag_of_words.py` with the flags below.

Criterion, written before the sweep: the difference of an arm with positions and nope, paired by
seed, excludes 0 in accuracy at 128 tokens (95 % interval by Student's t over the seeds);
otherwise positions do not matter here.

The arm rope takes 48 s of CPU with seed 0 (1 December 2026).
"""

TASK = (
  '--config.task.name=classify',
  '--config.task.classify.classes=8',
  '--config.data.corpus=package:reuters_r8',
  '--config.data.fields=text,label',
  '--config.train.steps=800',
  '--config.optimizer.warmup=80',
  '--config.train.length=128',
  '--config.evaluate.multiples=1,2',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in ('rope', 't5', 'nope')}
SEEDS = (0, 1, 2)
