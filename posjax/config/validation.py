"""Checks of a config that need neither the encoding nor the machine; they do not import jax."""

import itertools
import math
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from posjax.config.keys import SAME, flatten
from posjax.errors import UserError, one_of, show
from posjax.runtime import files, remote
from posjax.writers import WRITERS

CHOICES = {
  'model.norm.kind': ('rmsnorm', 'layernorm'),
  'model.norm.where': ('before', 'added', 'after'),
  'model.mlp.activation': ('silu', 'gelu', 'gelu_tanh', 'relu'),
  'model.biases': (
    'norm', 'query', 'key', 'value', 'output', 'up', 'gate', 'down', 'head', 'input',
  ),
  'model.layer': ('attention', 'lstm', 'gru', 'rnn'),
  'model.dtype': ('float32', 'bfloat16'),
  'attention.implementation': ('auto', 'reference', 'blockwise', 'fused'),
  'optimizer.schedule': ('cosine', 'wsd'),
  'writers': tuple(WRITERS),
  'model.form': ('auto', 'decoder', 'encoder', 'encoder_decoder'),
}


class Interval(NamedTuple):
  """Numbers from `low` to `high`; `excluded` says which ends are not in it."""

  low: float
  high: float
  excluded: str = ''  # '(' the low end, ')' the high end, '()' both

  def __contains__(self, number: Any) -> bool:
    above = number > self.low if '(' in self.excluded else number >= self.low
    below = number < self.high if ')' in self.excluded else number <= self.high
    return above and below

  def __str__(self) -> str:
    left, right = '(' if '(' in self.excluded else '[', ')' if ')' in self.excluded else ']'
    return f'{left}{self.low}, {self.high}{right}'


# jax.random.key would silently cut a longer seed to its last 32 bits. Counts are int32. Positions,
# and the tables that encodings compute from them, are float32 too, which counts to 2^24. Sizes end
# far beyond the memory of any machine, so that tables computed on the host stay small.
SEED = Interval(0, 2**32 - 1)
SIZE = Interval(1, 2**20)
LENGTH = Interval(1, 2**24)
COUNT = Interval(1, 2**31 - 1)
COUNT_OR_ZERO = Interval(0, 2**31 - 1)

INTERVALS = {
  SEED: ('seed', 'generate.seed'),
  SIZE: (
    'model.dim', 'model.layers', 'model.heads', 'model.kv_heads', 'model.head_dim', 'model.hidden',
    'train.batch', 'train.accumulate', 'generate.samples', 'generate.beams',
  ),
  LENGTH: ('train.length', 'attention.block'),
  COUNT: (
    'train.steps', 'train.log_every', 'checkpoint.every', 'checkpoint.keep', 'generate.tokens',
  ),
  COUNT_OR_ZERO: (
    'model.windows', 'model.chunks', 'model.shifts', 'model.embedding.types', 'train.max_skipped',
    'optimizer.warmup', 'generate.top_k',
  ),
  Interval(0, math.inf, ')'): (
    'optimizer.weight_decay', 'generate.temperature', 'generate.length_penalty',
    'model.embedding.scale', 'model.query_scale',
  ),
  Interval(0, math.inf, '()'): (
    'optimizer.learning_rate', 'optimizer.eps', 'model.norm.eps', 'model.head.scale',
  ),
  Interval(0, math.inf, '('): ('optimizer.clip',),
  Interval(0, 1, ')'): ('model.dropout', 'optimizer.b1', 'optimizer.b2'),
  Interval(0, 1): ('optimizer.decay', 'optimizer.final'),
  Interval(0, 1, '('): ('generate.top_p',),
}


def validate(config: ConfigDict) -> None:
  """Raises UserError for the first wrong value that needs no encoding and no machine to find."""
  check_values(config)
  values = flatten(config)
  for key, divisor in (('model.heads', 'model.kv_heads'), ('train.batch', 'train.accumulate')):
    check_multiple(key, values[key], f'{divisor} =', values[divisor])
  files.check_local('data.directory', config.data.directory)
  remote.check_corpus('data.corpus', config.data.corpus)
  check_patterns(config)
  check_steps(config)
  check_init(config.init)
  check_mesh(config.mesh)
  multiples = config.evaluate.multiples
  if multiples[:1] != (1,) or list(multiples) != sorted(set(multiples)):
    raise UserError(
      f'evaluate.multiples = {show(multiples)}: must begin with 1 and increase, such as 1,1.5,2'
    )


def check_mesh(mesh: ConfigDict) -> None:
  for axis, devices in mesh.items():
    if devices < 1 and devices != -1:
      raise UserError(f'mesh.{axis} = {devices}: must be positive, or -1 for all remaining devices')
  if len(left := [axis for axis in mesh if mesh[axis] == -1]) > 1:
    raise UserError(
      f'mesh.{left[1]} = -1: only one axis can take all remaining devices; mesh.{left[0]} does'
    )


def check_init(init: ConfigDict) -> None:
  """Checks that the other keys of `init` come with weights to start from."""
  remote.check('init.run', init.run)
  files.check_local('init.vectors', init.vectors)
  check_checkpoint('init.checkpoint', init.checkpoint)
  if init.fresh and not init.run:
    raise UserError(f'init.fresh = {init.fresh}: it needs init.run, the run to start from')
  if init.frozen and not (init.run or init.vectors):
    raise UserError(
      f'init.frozen = {init.frozen}: it needs init.run, the run to start from, or init.vectors'
    )


def check_checkpoint(key: str, which: str) -> None:
  if which not in ('newest', 'best') and not which.isdecimal():
    raise UserError(f'{key}={which}: it must be newest, best or a step')


def check_values(config: ConfigDict) -> None:
  """Raises UserError for the first value that is wrong by itself."""
  values = flatten(config)
  for key, choices in CHOICES.items():
    several = isinstance(values[key], tuple)
    for value in values[key] if several else (values[key],):
      if value not in choices:
        choose = one_of(value, choices, 'each' if several else 'it')
        raise UserError(f'{key} = {show(values[key])}: {choose}')
  for interval, keys in INTERVALS.items():
    for key in keys:
      numbers = values[key] if isinstance(values[key], tuple) else (values[key],)
      if not all(number in interval for number in numbers):
        raise UserError(f'{key} = {show(values[key])}: must be in {interval}')


def check_multiple(key: str, number: int, divisor_key: str, divisor: int) -> None:
  low = number // divisor * divisor
  if low != number:
    valid = ' or '.join(str(n) for n in (low, low + divisor) if n)
    raise UserError(
      f'{key} = {number}: must be a multiple of {divisor_key} {divisor}, such as {valid}'
    )


def check_patterns(config: ConfigDict) -> None:
  """Checks that encodings, windows and chunks, tiled over the depth, have lengths that fit."""
  if len(config.model.cross) != 1:
    raise UserError(f'model.cross = {show(config.model.cross)}: must be one encoding')
  check_pattern(config, 'encoding.layers', config.encoding.layers)
  if config.model.encoder != (SAME,):
    check_pattern(config, 'model.encoder', config.model.encoder)


def check_pattern(config: ConfigDict, key: str, layers: tuple[str, ...]) -> None:
  lengths = {
    key: len(layers), 'model.windows': len(config.model.windows),
    'model.chunks': len(config.model.chunks), 'model.shifts': len(config.model.shifts),
  }
  for (one, m), (other, n) in itertools.combinations(lengths.items(), 2):
    if 0 in (m, n) or (m != n and 1 not in (m, n)):
      raise UserError(
        f'{one} has {m} entries, {other} {n}: each needs 1, or both need the same number'
      )
  longest = max(lengths, key=lengths.get)
  check_multiple('model.layers', config.model.layers, f'the length of {longest},', lengths[longest])


def longest_warmup(config: ConfigDict) -> int:
  """Returns the most warm-up steps: all but the last, and but those in which 'wsd' decays."""
  steps, optimizer = config.train.steps, config.optimizer
  cooling = round(optimizer.decay * steps) if optimizer.schedule == 'wsd' else 0
  return steps - max(cooling, 1)


def check_steps(config: ConfigDict) -> None:
  steps, optimizer, most = config.train.steps, config.optimizer, longest_warmup(config)
  if optimizer.warmup > most:
    decay = f' and optimizer.decay = {optimizer.decay} takes {steps - most}'
    raise UserError(
      f'optimizer.warmup = {optimizer.warmup}: must be at most {most}, '
      f'as train.steps = {steps}{decay if most < steps - 1 else ""}'
    )
