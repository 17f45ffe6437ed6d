"""Arguments of encodings that a config leaves out, for a command line to set."""

import ast
import re

from posjax import encodings
from posjax.config import UserError, show


def add_arguments(config, overrides):
  """Adds the sections of encodings that `overrides` set a key of, with all their arguments.

  An argument that is a dictionary, such as `rope.scaling`, has any key that is set here; it is for
  the encoding to judge.

  Returns:
    The overrides that are left.

  Raises:
    UserError: there is no such encoding, or no layer has it.
  """
  found = [re.match(r'--?config\.encoding\.([^=]*)=(.*)', o, re.DOTALL) for o in overrides]
  pairs = [(match[1], match[2]) if match else ('', '') for match in found]
  given = [tuple(value.split(',')) for key, value in pairs if key == 'layers']
  layers = [tuple(config.encoding.layers), *given][-1]
  parts = {part for layer in layers for part in layer.split('+')}
  kinds = {part: encodings.find(encodings.unlabelled(part)) for part in parts}
  left = []
  for override, (path, value) in zip(overrides, pairs, strict=True):
    section, _, key = path.partition('.')
    if section in kinds:
      with config.unlocked():
        own = config.encoding.get(section, {})
        config.encoding[section] = {**encodings.arguments(kinds[section]), **own}
      argument, _, inner = key.partition('.')
      if hasattr(config.encoding[section].get(argument), 'items'):
        if not inner:
          raise UserError(f'--config.encoding.{path}: a dictionary; set its keys one by one')
        with config.unlocked():
          config.encoding[section][argument][inner] = parse(value)
        continue
    elif key and encodings.unlabelled(section) in encodings.names():
      raise UserError(
        f'--config.encoding.{path}: encoding.layers is {show(layers)}, so no layer would read it; '
        f'add {section} to the layers'
      )
    left.append(override)
  return left


def parse(text):
  """'4' as 4, '1,2.5' as (1, 2.5), 'true' as True; anything else is a word."""
  try:
    return ast.literal_eval(text.title() if text in ('true', 'false') else text)
  except (ValueError, SyntaxError):
    return text
