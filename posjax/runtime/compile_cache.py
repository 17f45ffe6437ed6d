"""Compiled programs, kept for the next process by JAX's persistent cache.

JAX's key of an entry is the program, JAX's version, XLA's flags and the kind of machine, processor
features included: runs at once, and machines that share a home, share a folder too. Of JAX's own
variables, JAX_COMPILATION_CACHE_DIR names a folder that is left to JAX, and
JAX_ENABLE_COMPILATION_CACHE=false keeps nothing.
"""

import contextlib
import os
import pathlib
import re
import warnings

import jax

MOST = 2**30  # bytes in the folder; a run takes about one million
FAILED = re.compile(r"Error (?:reading|writing) persistent compilation cache entry for '([\w.-]+)'")


def quickly():
  """Options of the compiler for a CPU, where LLVM's further passes take longer than they save.

  Most of a step's time is in products, which are not compiled here.
  """
  return {'xla_backend_optimization_level': 1} if jax.default_backend() == 'cpu' else None


def keep(workdir):
  """Keeps what is compiled from here on: in the user's cache folder, or else in `workdir`.

  Programs that only read a work directory name none.
  """
  chosen = jax.config.jax_compilation_cache_dir is not None
  if chosen or not jax.config.jax_enable_compilation_cache:
    return
  folder = of_user() or (workdir and pathlib.Path(workdir).absolute() / 'compile_cache')
  if not folder:
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
  # XLA's own files for GPUs: what it tuned is in the entries already, and errors there end a run.
  jax.config.update('jax_persistent_cache_enable_xla_caches', 'none')
  tidy(folder, MOST)
  drop_failed(folder)


def of_user():
  """$XDG_CACHE_HOME/posjax/compiled, or in ~/.cache; None if it cannot be written."""
  caches = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  try:
    folder = pathlib.Path(caches).expanduser() / 'posjax' / 'compiled'
    folder.mkdir(0o700, parents=True, exist_ok=True)  # who can write here can run code as this user
  except (OSError, RuntimeError):  # RuntimeError: there is no home
    return None
  return folder if os.access(folder, os.W_OK | os.X_OK) else None


def tidy(folder, most):
  """Removes the entries that were used longest ago, until the others take `most` bytes."""
  with contextlib.suppress(FileNotFoundError):  # another process tidies, too, and goes on
    files = {path: path.stat() for path in folder.glob('*-cache')}
    size = sum(file.st_size for file in files.values())
    for path in sorted(files, key=lambda path: max(files[path].st_atime, files[path].st_mtime)):
      if size <= most:
        break
      path.unlink()
      size -= files[path].st_size


def drop_failed(folder):
  """An entry that JAX cannot read or write is removed, and not spoken of: it is compiled again.

  JAX itself would leave one that a kill or a full disk cut off, and warn in each run.
  """
  show = warnings.showwarning

  def showwarning(message, *where, **how):
    failed = FAILED.match(str(message))
    if not failed:
      return show(message, *where, **how)
    with contextlib.suppress(OSError):
      for path in folder.glob(f'{failed[1]}-*-cache'):
        path.unlink()

  warnings.showwarning = showwarning
