"""Loads the tokenizer that a config names."""

import functools
import pathlib

from posjax.data.tokenizer import BYTES, Tokenizer
from posjax.errors import UserError, one_line


def load(name: str) -> Tokenizer:
  """Returns `BYTES` for 'bytes', or else the tokenizer of the tokenizer.json at the path `name`.

  Raises:
    UserError: the file cannot be read, is no tokenizer, or the package tokenizers is missing.
  """
  if name == 'bytes':
    return BYTES
  try:
    content = pathlib.Path(name).expanduser().read_bytes()
  except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
    raise UserError(
      f"data.tokenizer = {name}: {one_line(error)}; it is 'bytes', or the path of a tokenizer.json"
    ) from error
  return _parsed(name, content)


@functools.lru_cache
def _parsed(name: str, content: bytes) -> Tokenizer:
  try:
    from posjax.data import tokenizer_file
  except ImportError as error:
    raise UserError(
      f"data.tokenizer = {name} needs the package tokenizers; run: pip install -e '.[bpe]'"
    ) from error
  return tokenizer_file.parse(name, content)
