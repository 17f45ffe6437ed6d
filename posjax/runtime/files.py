"""Files that others read while a run writes them."""

import os


def replace(path, text):
  """Replaces a file: whoever reads it sees the old text or the new one, whatever goes down."""
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
