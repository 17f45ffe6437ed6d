"""Files of this machine, some of which others read while a run writes them."""

import os

from posjax.errors import UserError


def replace(path, text):
  """Replaces a file: a reader sees the old text or the new one, even if the machine stops."""
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


def check_local(key, path):
  """Raises UserError for a URL: everything is read and written in folders of this machine."""
  scheme, url, rest = path.partition('://')
  if url:
    instead = f', such as {rest}' if scheme == 'file' else '; mount it, or choose another'
    raise UserError(f'{key}={path}: must be a folder of this machine{instead}')
