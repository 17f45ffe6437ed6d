"""The start and the end of a program: user errors become one line and an exit code.

Every module that is run with `python -m` calls `begin` before its other, slow imports, and then
`run_program`. This module imports no third-party package.
"""

import argparse
import contextlib
import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from posjax.errors import UserError
from posjax.runtime import files
from posjax.runtime.signals import SIGNALS, Interrupted

STARTED = time.perf_counter()

# {errno: what the user can do}, for errors of the file system that are not bugs.
REMEDIES = {
  **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), 'free disk space'),
  **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), 'allow reading and writing'),
  **dict.fromkeys((errno.EEXIST, errno.EISDIR, errno.ENOTDIR), 'move it away'),
  **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), 'choose another name'),
  errno.EIO: 'check the disk',
}


def begin() -> None:
  """Makes signals and missing packages end the process with a one-line message."""
  for number in SIGNALS:
    signal.signal(number, lambda number, frame: hard_exit(Interrupted(number)))
  sys.excepthook = _excepthook
  # A file that is opened later must not get the descriptor of a closed standard stream.
  while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
    pass
  os.close(descriptor)
  sys.stdout = sys.stdout or open(os.devnull, 'w')
  sys.stderr = sys.stderr or open(os.devnull, 'w')


def _excepthook(kind, error, trace):
  if not (known := explain(error)):
    return sys.__excepthook__(kind, error, trace)
  os._exit(fail(*known))


def run_program(program: Callable[[], int]) -> int:
  """Runs `program`, the main function of a process, and returns its exit code."""
  sys.stdout.reconfigure(errors='replace')  # terminals may lack some characters
  try:
    with warnings.catch_warnings():
      warnings.showwarning = warn
      code = program()
      print(end='', flush=True)
      return code
  except Interrupted as error:
    return hard_exit(error)
  except BrokenPipeError:  # the reader has closed the pipe, as in `| head`
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it at the end
    return 141  # as after SIGPIPE
  except Exception as error:
    if not (known := explain(error)):
      raise
    return fail(*known)


def explain(error: BaseException) -> tuple[int, str] | None:
  """Returns (exit code, message) for an error that the user can fix; None for a bug."""
  if hasattr(error, 'exit_code'):  # a UserError, or a run that diverged
    return error.exit_code, str(error)
  if isinstance(error, ModuleNotFoundError) and not f'{error.name}.'.startswith('posjax.'):
    pip = f'{shlex.quote(sys.executable)} -m pip install -e .'
    return 2, f'{error.name} is not installed; in the folder of setup.py, run: {pip}'
  if isinstance(error, OSError) and error.errno in REMEDIES:
    name = error.filename2 or error.filename
    place = f'{name}: ' if name else ''
    return 2, f'{place}{error.strerror}; {REMEDIES[error.errno]}, and run it again'
  return None


def fail(code: int, message: str) -> int:
  """Prints one line to standard error, wrapped only for a terminal; returns the code."""
  line = f'posjax: {message}'
  if sys.stderr.isatty():
    width = shutil.get_terminal_size().columns
    line = textwrap.fill(
      line, width, subsequent_indent='  ', break_long_words=False, break_on_hyphens=False
    )
  with contextlib.suppress(OSError):  # Ctrl-C also ends the reader of a pipe
    print(line, file=sys.stderr)
  return code


def warn(message: Warning | str, *where: Any, **how: Any) -> None:
  """Prints a warning without its location in the source."""
  fail(0, f'warning: {" ".join(str(message).split())}')


def hard_exit(error: Interrupted) -> NoReturn:
  """Ends the process after a signal, and prints how to resume; a handler may call it.

  It does not clean up, since that would crash while threads of XLA and Orbax are running.
  """
  for number in SIGNALS:  # a second Ctrl-C would print the same
    signal.signal(number, signal.SIG_IGN)
  with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: it is being flushed
    sys.stdout.flush()
  # The line break ends a line with ^C or a progress bar.
  said = f'\nnext:   {shlex.join(sys.orig_argv)}\nposjax: {error}\n'
  with contextlib.suppress(OSError):
    os.write(sys.stderr.fileno(), said.encode(errors='surrogateescape'))
  os._exit(error.exit_code)


def check_devices() -> None:
  """Raises UserError if the processes that a program starts would find no device.

  It asks in a separate process, because asking allocates GPU memory. If JAX chooses the device, it
  always finds one.
  """
  if os.environ.get('JAX_PLATFORMS') not in (None, '', 'cpu'):
    ask = (
      'from posjax.runtime import memory, program; '
      'exit(program.run_program(memory.check_devices))'
    )
    asked = subprocess.run(
      [sys.executable, '-c', ask], stderr=subprocess.PIPE, text=True, check=False
    )
    if asked.returncode:
      raise UserError(asked.stderr.strip().removeprefix('posjax: '))


class Parser(argparse.ArgumentParser):
  """A parser of command lines that raises UserError for mistakes.

  Args:
    command: the command that starts the program.
    description: the text that --help prints first.
  """

  def __init__(self, command: str, description: str | None) -> None:
    super().__init__(
      prog=command, description=description, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
    )

  def error(self, message: str) -> NoReturn:
    raise UserError(message)


def folder(flag: str) -> Callable[[str], Path]:
  """Returns the argparse type for an argument `flag` that names a local folder."""

  def parse(text):
    files.check_local(flag, text)
    return Path(os.path.expanduser(text))

  return parse
