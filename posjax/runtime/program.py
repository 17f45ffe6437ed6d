"""A whole program: how it begins and ends. What a user has to know is one line and an exit code.

Every module that is run with `python -m` calls `begin` before its other imports, which take a
while, and then `run_program`. Nothing is imported here that is not Python's own.
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
from pathlib import Path

from posjax.errors import UserError
from posjax.runtime import files
from posjax.runtime.signals import SIGNALS, Interrupted

STARTED = time.perf_counter()

# What the file system says, not what a program got wrong; and what a user can do about it.
REMEDIES = {
  **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), 'make room'),
  **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), 'let it be read and written'),
  **dict.fromkeys((errno.EEXIST, errno.EISDIR, errno.ENOTDIR), 'move it away'),
  **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), 'choose another name'),
  errno.EIO: 'look after the disk',
}


def begin():
  """From here on a signal or a package that is missing ends the process in one line."""
  for number in SIGNALS:
    signal.signal(number, lambda number, frame: hard_exit(Interrupted(number)))
  sys.excepthook = _excepthook
  # A file that is opened later must not take the place of a stream that is closed.
  while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
    pass
  os.close(descriptor)
  sys.stdout = sys.stdout or open(os.devnull, 'w')
  sys.stderr = sys.stderr or open(os.devnull, 'w')


def _excepthook(kind, error, trace):
  if not (known := explain(error)):
    return sys.__excepthook__(kind, error, trace)
  os._exit(fail(*known))


def run_program(program):
  """The exit code of a function that is a whole program, the rest of the process's life."""
  sys.stdout.reconfigure(errors='replace')  # names and texts have characters that terminals lack
  try:
    with warnings.catch_warnings():
      warnings.showwarning = warn
      code = program()
      print(end='', flush=True)
      return code
  except Interrupted as error:
    return hard_exit(error)
  except BrokenPipeError:  # the reader of the output has gone, as in `| head`
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it at the end
    return 141  # as after SIGPIPE
  except Exception as error:
    if not (known := explain(error)):
      raise
    return fail(*known)


def explain(error):
  """(exit code, what to say) of an error that a user can do something about; None of a bug."""
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


def fail(code, message):
  """Says it on standard error, in one line that only a terminal wraps, and returns the code."""
  line = f'posjax: {message}'
  if sys.stderr.isatty():
    width = shutil.get_terminal_size().columns
    line = textwrap.fill(
      line, width, subsequent_indent='  ', break_long_words=False, break_on_hyphens=False
    )
  with contextlib.suppress(OSError):  # Ctrl-C ends what reads this, too
    print(line, file=sys.stderr)
  return code


def warn(message, *where, **how):
  """Says what `warnings` has to say without where in the program it arose."""
  fail(0, f'warning: {" ".join(str(message).split())}')


def hard_exit(error):
  """Ends the process after a signal, and says how to go on; it may be called by a handler.

  It does not clean up: that would crash, where XLA and Orbax are in the middle of things.
  """
  for number in SIGNALS:  # a second Ctrl-C would say the same
    signal.signal(number, signal.SIG_IGN)
  with contextlib.suppress(OSError, RuntimeError):  # the second while it is flushed already
    sys.stdout.flush()
  # It begins with a line break, after ^C or a bar of progress.
  said = f'\nnext:   {shlex.join(sys.orig_argv)}\nposjax: {error}\n'
  with contextlib.suppress(OSError):
    os.write(sys.stderr.fileno(), said.encode(errors='surrogateescape'))
  os._exit(error.exit_code)


def check_devices():
  """Raises UserError where processes that a program starts would find no device.

  In a process of its own, since the one that asks takes a GPU's memory; where JAX chooses, it finds
  one.
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
  """A command line whose mistakes are a UserError.

  Args:
    command: how the program is called.
    description: what --help prints first.
  """

  def __init__(self, command, description):
    super().__init__(
      prog=command, description=description, allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
    )

  def error(self, message):
    raise UserError(message)


def folder(flag):
  """The type of an argument `flag` that names a folder of this machine."""

  def parse(text):
    files.check_local(flag, text)
    return Path(os.path.expanduser(text))

  return parse
