"""A lock on a work directory, for one run at a time; it is released when its process ends."""

import contextlib
import fcntl
import os
import pathlib
import socket
from collections.abc import Iterator

from posjax.errors import UserError


def holder(workdir: pathlib.Path | str) -> str:
  """Returns the text in the lock file of `workdir`: the process that holds it, or held it last."""
  path = pathlib.Path(workdir) / 'lock'
  return path.read_text().strip() if path.exists() else 'missing'


@contextlib.contextmanager
def held(workdir: pathlib.Path | str) -> Iterator[None]:
  """Creates `workdir` and locks it. Raises UserError while another process holds the lock.

  The lock file is never deleted: a process that finds it unlocked may lock it.
  """
  workdir = pathlib.Path(workdir)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'--workdir={workdir}: {error.strerror}; choose another') from error
  with (workdir / 'lock').open('a+') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      file.seek(0)
      raise UserError(
        f'{workdir}: {file.read().strip()} is training here; wait for it, or choose another '
        '--workdir'
      ) from error
    except OSError as error:
      raise UserError(f'{workdir} cannot be locked: {error.strerror}; choose another') from error
    file.truncate(0)
    print(f'process {os.getpid()} on {socket.gethostname()}', file=file, flush=True)
    yield
