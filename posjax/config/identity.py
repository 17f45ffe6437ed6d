"""The identity of a run: the config keys that determine its trained weights, and their digest."""

import hashlib
import json
from typing import Any

from ml_collections import ConfigDict

from posjax.config import files, keys
from posjax.config.keys import flatten
from posjax.config.renamed import to_new, to_old

# The format of checkpoints; increased by a change after which older checkpoints are unreadable.
FORMAT = 3

SECTIONS = ('seed', 'task', 'encoding', 'model', 'data', 'train', 'optimizer', 'init')
WITHOUT_EFFECT = (
  'data.directory', 'model.remat', 'train.accumulate', 'train.log_every', 'train.max_skipped',
  'init.run', 'init.checkpoint', 'init.vectors',  # init.source is their digest
)

# The keys in the first digests. A key that was added to base.py later is part of an identity only
# if it differs from base.py's value, so that new keys do not change the digests of earlier runs.
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


def of(config: ConfigDict | dict[str, Any]) -> dict[str, Any]:
  """Returns the flat keys and values of a config, or of a record's dict, that determine weights."""
  flat, default = to_old(to_new(flatten(config))), flatten(files.base().get_config())
  return {
    key: value for key, value in flat.items()
    if key.partition('.')[0] in SECTIONS and key not in (*WITHOUT_EFFECT, *_of_tests(flat))
    and (key in FIRST or key.startswith('encoding.') or value != default.get(key))
  }


def _of_tests(flat):
  """Returns the keys of the task's arguments that affect evaluation only, not the weights."""
  name = flat.get('task.name', 'text')  # the first runs had no other task
  if not any(key.startswith(f'task.{name}.') for key in flat):
    return ()
  from posjax import tasks

  return tuple(f'task.{name}.{argument}' for argument in tasks.find(name).evaluation)


def run_name(config: ConfigDict, stem: str, size: str) -> str:
  """Returns 'rope-tiny-3f2a9c1e': the config file's stem, the size and the identity's digest."""
  text = json.dumps(of(config), sort_keys=True)
  return '-'.join(filter(None, (stem, size, hashlib.sha256(text.encode()).hexdigest()[:8])))


def difference(
  old: ConfigDict | dict[str, Any], new: ConfigDict | dict[str, Any]
) -> dict[str, tuple[Any, Any]]:
  """Returns {key: (old value, new value)} where the identities of two configs differ.

  An argument that is stated at its default value is equal to an omitted one.
  """
  old, new = to_new(of(old)), to_new(of(new))
  return keys.difference(_defaults(old, new) | old, _defaults(new, old) | new)


def _defaults(flat, other):
  """Returns the defaults of `flat`'s encodings and task for arguments that only `other` states."""
  from posjax import encodings, tasks  # imports jax, which naming a run does not need

  found = {}
  parts = encodings.sections_of(keys.layers_of(flat))
  name = flat.get('task.name', 'text')
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
