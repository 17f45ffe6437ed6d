"""The identity of a run: which keys of its config decide the trained weights, and their digest."""

import hashlib
import json

from posjax.config import files, keys
from posjax.config.keys import flatten

# Of what checkpoints hold: raised with a change after which older ones cannot be read.
FORMAT = 2

SECTIONS = ('seed', 'task', 'encoding', 'model', 'data', 'train', 'optimizer', 'init')
WITHOUT_EFFECT = (
  'data.directory', 'model.remat', 'train.accumulate', 'train.log_every', 'train.max_skipped',
  'init.run', 'init.checkpoint',  # init.source says what was in there
)

# The keys that the first digests were made of. A key that base.py got later is part of an identity
# only where it is not at base.py's value, so that new keys change no digest of a former run.
FIRST = frozenset((
  'seed', 'data.corpus', 'data.train', 'data.validation', 'data.test', 'train.steps', 'train.batch',
  'train.length', *(f'model.{key}' for key in (
    'dim', 'layers', 'heads', 'kv_heads', 'head_dim', 'hidden', 'norm', 'activation', 'tied',
    'dropout', 'windows', 'chunks', 'dtype',
  )), *(f'optimizer.{key}' for key in (
    'learning_rate', 'warmup', 'schedule', 'decay', 'final', 'b1', 'b2', 'eps', 'weight_decay',
    'clip',
  )),
))


def of(config):
  """The flat keys and values of a config, or of the dict of a record, that decide the weights."""
  flat, default = flatten(config), flatten(files.base().get_config())
  return {
    key: value for key, value in flat.items()
    if key.partition('.')[0] in SECTIONS and key not in (*WITHOUT_EFFECT, *_of_tests(flat))
    and (key in FIRST or key.startswith('encoding.') or value != default.get(key))
  }


def _of_tests(flat):
  """The keys of the task's arguments that change no weight, only how the model is scored."""
  name = flat.get('task.name', 'text')  # the first runs had no other
  if not any(key.startswith(f'task.{name}.') for key in flat):
    return ()
  from posjax import tasks

  return tuple(f'task.{name}.{argument}' for argument in tasks.find(name).evaluation)


def run_name(config, stem, size):
  """'rope-tiny-3f2a9c1e': the config file's stem, the size and a digest of the identity."""
  text = json.dumps(of(config), sort_keys=True)
  return '-'.join(filter(None, (stem, size, hashlib.sha256(text.encode()).hexdigest()[:8])))


def difference(old, new):
  """{key: (old value, new value)} where the identities of two configs differ.

  An argument that an encoding has by default is the same whether a config names it or not.
  """
  old, new = of(old), of(new)
  return keys.difference(_defaults(old, new) | old, _defaults(new, old) | new)


def _defaults(flat, other):
  """What encodings and the task of `flat` have by default for arguments that only `other` names."""
  from posjax import encodings, tasks  # and jax, without which a run is named

  found = {}
  parts, name = encodings.sections_of(flat['encoding.layers']), flat.get('task.name', 'text')
  for key in other:
    shelf, part, *_ = [*key.split('.'), '']
    own = {}
    if key not in flat and (shelf, part) == ('task', name):
      own = flatten({'task': {part: tasks.arguments(tasks.find(part))}})
    elif key not in flat and shelf == 'encoding' and part in parts:
      kind = encodings.find(encodings.unlabelled(part))
      own = flatten({'encoding': {part: encodings.arguments(kind)}})
    found |= {key: own[key]} if key in own else {}
  return found
