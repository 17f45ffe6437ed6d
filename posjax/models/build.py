"""Builds the model of a config: its form, its settings, and the encodings of its layers."""

import dataclasses
import functools

import flax
import jax
from ml_collections import ConfigDict

from posjax.attention import check_fused
from posjax.config.keys import SAME, flatten, layers_of
from posjax.dims import Dims
from posjax.encodings import Encoding, build, check_sections, parts_of, sections_of
from posjax.encodings.core.chain import overrides
from posjax.errors import UserError, show
from posjax.models import settings
from posjax.models.pattern import Pattern
from posjax.models.recurrent import Recurrent
from posjax.models.stack import Stack
from posjax.models.transformer import Transformer
from posjax.tasks import Task

GROUPS = {  # sections of the config's section `model`
  'norm': settings.NormSettings, 'mlp': settings.MlpSettings,
  'embedding': settings.EmbeddingSettings,
}
ELSEWHERE = 'form', 'layer', 'windows', 'chunks', 'shifts', 'encoder', 'cross', 'head'


def from_config(config: ConfigDict, task: Task) -> Transformer:
  """Returns the model of a resolved config for a `Task`.

  Raises:
    UserError: an encoding's arguments do not fit the model, or it cannot be where it is named.
  """
  sections = {key: value for key, value in config.encoding.items() if key != 'layers'}
  check_sections(layers_of(flatten(config)), sections)
  sizes = {key: value for key, value in config.model.items() if key not in ELSEWHERE}
  sizes |= {key: kind(**config.model[key]) for key, kind in GROUPS.items()}
  sizes |= dict(attention=flax.core.FrozenDict(config.attention), axes=task.axes)
  kind = Transformer
  if config.model.layer != 'attention':
    check_recurrent(config, task)
    kind = functools.partial(Recurrent, kind=config.model.layer)
  model = kind(
    pattern=None, vocabulary=task.vocabulary, outputs=task.outputs,
    head=settings.HeadSettings(**config.model.head), causal=task.form != 'encoder',
    vectors=task.vectors, **sizes,
  )
  model = model.clone(pattern=pattern(config, model.dims, config.encoding.layers))
  if task.pos_dtype == 'float32':
    check_fractions(config.task.name, model.pattern)
  if task.form != 'encoder_decoder':
    return model
  encoder = Stack(pattern=None, causal=False, **sizes)
  layers = config.encoding.layers if config.model.encoder == (SAME,) else config.model.encoder
  cross = pattern(config, dataclasses.replace(model.dims, causal=False), config.model.cross)
  for name, encoding in cross.by_name.items():
    check_cross(name, encoding)
  every = (0,) * len(model.pattern)  # sees the entire source, in each layer of the pattern
  return model.clone(
    encoder=encoder.clone(pattern=pattern(config, encoder.dims, layers)),
    cross=dataclasses.replace(cross, windows=every, chunks=(0,), shifts=(0,)),
  )


def check_fractions(task: str, pattern: Pattern) -> None:
  """Raises UserError for encodings that represent whole positions only."""
  for name, encoding in pattern.by_name.items():
    if encoding.whole_positions:
      raise UserError(
        f'encoding.{name}: it represents the positions 0, 1, 2, …, but those of task {task} may be '
        'negative or fractions'
      )


def check_recurrent(config: ConfigDict, task: Task) -> None:
  """Raises UserError for settings that a recurrent model cannot have."""
  layers, windows = config.encoding.layers, (*config.model.windows, *config.model.chunks)
  needs = {
    f'encoding.layers = {show(layers)}: must be nope': layers == ('nope',),
    f'model.form = {task.form}: must be decoder': task.form == 'decoder',
    'model.windows and model.chunks: must be 0': not any(windows),
  }
  for need, holds in needs.items():
    if not holds:
      raise UserError(f'{need}, because model.layer = {config.model.layer} has no attention')


def pattern(config: ConfigDict, dims: Dims, layers: tuple[str, ...]) -> Pattern:
  """Returns the pattern of encodings `layers`, with the config's arguments and windows."""
  sections = {
    name: config.encoding[name] for name in sections_of(layers) if name in config.encoding
  }
  encodings = build(dims, layers=layers, **sections)
  if config.attention.implementation == 'fused':
    for encoding in encodings:
      check_fused(encoding)
  return Pattern(
    encodings, config.model.windows, tuple(layers), config.model.chunks, config.model.shifts
  )


def check_cross(name: str, encoding: Encoding) -> None:
  """Raises UserError for an encoding that attention to an encoder cannot have."""
  moves = [
    hook for part in parts_of(encoding) for hook in ('positions', 'embed') if overrides(part, hook)
  ]
  reasons = {
    'it is causal only, but all tokens of a source are visible': encoding.causal_only,
    f'its hook {"".join(moves[:1])} runs only within a stack': moves,
    'it keeps a state': jax.tree.leaves(encoding.init_state(1, 8, False, jax.random.key(0))),
  }
  for reason, holds in reasons.items():
    if holds:
      raise UserError(f'model.cross = {name}: {reason}; choose nope, or such as rope or t5')
