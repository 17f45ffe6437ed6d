"""The text of --print_config: every key of a config with its value and its meaning."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from posjax.config.comments import CONFIGS, documented
from posjax.config.keys import flatten, layers_of
from posjax.errors import show


def describe(config: ConfigDict, path: Path) -> str:
  """Returns a line for each key of `config`, loaded from `path`, and for each encoding argument.

  Arguments that the config does not set have their defaults.
  """
  arguments = arguments_of(config)
  own = flatten(config)
  values = own | {key: default for key, (default, _) in arguments.items() if key not in own}
  meanings = {key: meaning for key, (_, meaning) in arguments.items()}
  meanings |= {key: comment for key, (_, comment) in documented(path).items()}
  sections = [*dict.fromkeys(key.split('.')[0] for key in values)]
  keys = sorted(values, key=lambda key: sections.index(key.split('.')[0]))
  rows = {key: f'{key} = {show(values[key])}' for key in keys}
  width = max(map(len, rows.values()))
  lines = [f'{row:<{width}}  # {meanings.get(key, "")}' for key, row in rows.items()]
  return '\n'.join(line.removesuffix('# ').rstrip() for line in lines)


def arguments_of(config: ConfigDict) -> dict[str, tuple[Any, str]]:
  """Returns {key: (default, meaning)} of the arguments of the config's encodings and task."""
  from posjax import encodings, tasks  # imports jax

  name = config.task.name
  meanings = tasks.meanings(name)
  arguments = {
    f'task.{name}.{key}': (default, meanings[key])
    for key, default in tasks.arguments(tasks.find(name)).items()
  }
  given = flatten(config.encoding)
  for section in encodings.sections_of(layers_of(flatten(config))):
    name = encodings.unlabelled(section)
    own = CONFIGS / f'{name}.py'
    found = documented(own if own.exists() else None)
    for key, default in encodings.arguments(encodings.find(name)).items():
      if not any(k.startswith(f'{section}.{key}.') for k in given):  # otherwise its keys are shown
        _, meaning = found.get(f'encoding.{name}.{key}', ('', f'see posjax/encodings/{name}.py'))
        arguments[f'encoding.{section}.{key}'] = default, meaning
  return arguments
