"""User errors, in one line: what is wrong, where, and the nearest valid choice."""

import difflib
from collections.abc import Collection
from typing import Any


class UserError(Exception):
  """An error that the user must fix; its message is always one line."""

  exit_code = 2

  def __init__(self, message: str) -> None:
    # A quoted value may contain line breaks or terminal control characters.
    super().__init__(''.join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def one_line(error: BaseException | str) -> str:
  """Returns the message of an error with every run of white space as a single space."""
  return ' '.join(str(error).split())


def one_of(value: str, choices: Collection[str], subject: str = 'it') -> str:
  """Returns the end of a message about `value`: 'did you mean a? It must be one of a, b'."""
  close = difflib.get_close_matches(value, choices, 1)
  start = f'did you mean {close[0]}? {subject.capitalize()}' if close else subject
  return f'{start} must be one of {", ".join(choices)}'


def show(value: Any) -> str:
  """Returns a value in command-line syntax: 1,2,4 for a tuple."""
  return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)
