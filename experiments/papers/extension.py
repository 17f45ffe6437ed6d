"""A longer context: do PI, NTK-aware scaling and YaRN extend RoPE, with and without fine-tuning?

Chen et al. 2023, "Position interpolation", arXiv 2306.15595: some hundred steps of fine-tuning
restore the loss at a longer context. bloc97 2023: NTK-aware scaling needs none. Peng et al. 2023,
"YaRN", arXiv 2309.00071: better than interpolation with less fine-tuning. One model per seed is
trained at 256 bytes; then each arm takes its weights and reads 1,024 bytes, four times as many: as
they are ("frozen": 40 steps that change no digit), or with 40 steps of fine-tuning at a rate of
1e-3, equal for all arms. YaRN leaves planes that turn more than 32 times in the trained length as
they are: at 256 bytes that is one plane of eight. The arm yarn8 moves the limit to 8 turns.
"""

from posjax.sweep.experiment import Claim, Tier

LENGTH, FACTOR = 256, 4
ARMS = {
  'rope': (
    '--config=configs/rope.py', f'--config.train.length={LENGTH}', '--config.train.steps=800',
    '--config.train.batch=8', '--config.evaluate.multiples=1,4',
  ),
}
EXTEND = (
  '--config=configs/rope.py', '--config.init.run={rope}',
  f'--config.train.length={LENGTH * FACTOR}', '--config.train.batch=4', '--config.train.steps=40',
  '--config.checkpoint.every=40', '--config.optimizer.learning_rate=1e-3',
  '--config.evaluate.multiples=1',
)
FROZEN = ('--config.optimizer.learning_rate=1e-12',)  # less than the last digit of the weights


def scaled(rope_type, **arguments):
  arguments = {'rope_type': rope_type, 'factor': FACTOR} | arguments
  return tuple(f'--config.encoding.rope.scaling.{key}={value}' for key, value in arguments.items())


TRAINED = dict(original_max_position_embeddings=LENGTH)
WAYS = {
  'none': (),
  'pi': scaled('linear'),
  'ntk': scaled('ntk'),
  'yarn': scaled('yarn', **TRAINED),
  'yarn8': scaled('yarn', **TRAINED, beta_fast=8.0),
}
THEN = {f'{name}_frozen': (*EXTEND, *way, *FROZEN) for name, way in WAYS.items()} | {
  f'{name}_tuned': (*EXTEND, *way) for name, way in WAYS.items()
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
CLAIMS = (
  Claim(
    'without fine-tuning, NTK-aware scaling has a lower loss at 1,024 than no scaling',
    lambda at: at('none_frozen', 1024) - at('ntk_frozen', 1024), above=0,
    paper='a context of 8k for LLaMA without fine-tuning (post, no table)',
  ),
  Claim(
    'after 40 steps, interpolation is at most 0.1 bits worse at 1,024 than the model was at 256',
    lambda at: at('pi_tuned', 1024) - at('rope', 256), below=0.1,
    paper='a context of 32,768 within 1,000 steps (abstract)',
  ),
  Claim(
    'after 40 steps, YaRN has a lower loss at 1,024 than interpolation',
    lambda at: at('yarn_tuned', 1024) - at('pi_tuned', 1024), below=0,
    paper='10 times fewer tokens and 2.5 times fewer steps than interpolation (abstract)',
  ),
  Claim(
    'after 40 steps, YaRN with a limit of 8 turns has a lower loss at 1,024 than interpolation',
    lambda at: at('yarn8_tuned', 1024) - at('pi_tuned', 1024), below=0,
  ),
)
TIERS = {
  'smoke': Tier(('--config.train.steps=10', '--config.checkpoint.every=10'), seeds=(10,),
                rates=(3e-3,), judges=False, needs='two CPU cores, two minutes'),
}
