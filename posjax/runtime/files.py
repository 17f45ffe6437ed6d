"""Local files, some of which are read while a run writes them."""

import os
import pathlib

from posjax.errors import UserError


def replace(path: pathlib.Path, text: str) -> None:
  """Replaces a file atomically: a reader sees the old or the new text, even after a crash."""
  unfinished = path.with_name(f'{path.name}.{os.getpid()}.tmp')
  try:
    with unfinished.open('w', encoding='utf-8') as file:
      file.write(text)
      file.flush()
      os.fsync(file.fileno())
    unfinished.replace(path)
  except OSError:
    unfinished.unlink(missing_ok=True)
    raise


def check_local(key: str, path: str) -> None:
  """Raises UserError for a URL: posjax reads and writes local folders only."""
  scheme, url, rest = path.partition('://')
  if url:
    instead = f', such as {rest}' if scheme == 'file' else '; mount it, or choose another'
    raise UserError(f'{key}={path}: must be a local folder{instead}')
