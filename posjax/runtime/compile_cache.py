"""JAX's persistent compilation cache, which keeps compiled programs for the next process.

The key of an entry includes the program, JAX's version, XLA's flags and the machine type with its
processor features: concurrent runs, and machines that share a home, can share a folder. If JAX's
variable JAX_COMPILATION_CACHE_DIR names a folder, posjax leaves the cache to JAX;
JAX_ENABLE_COMPILATION_CACHE=false disables the cache.
"""

import contextlib
import os
import pathlib
import re
import warnings

import jax

MOST = 2**30  # bytes in the folder; a run adds about one million
FAILED = re.compile(r"Error (?:reading|writing) persistent compilation cache entry for '([\w.-]+)'")


def quickly() -> dict[str, int] | None:
  """Returns compiler options for a CPU, where LLVM's further passes take longer than they save.

  Most of a step's time is spent in matrix products, which LLVM does not compile here.
  """
  return {'xla_backend_optimization_level': 1} if jax.default_backend() == 'cpu' else None


def keep(workdir: pathlib.Path | str | None) -> None:
  """Caches later compilations in the user's cache folder, or otherwise in `workdir`.

  Programs that only read a work directory pass None.
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
  # XLA's files for GPUs: entries already contain the tuning, and errors in these files end a run.
  jax.config.update('jax_persistent_cache_enable_xla_caches', 'none')
  tidy(folder, MOST)
  drop_failed(folder)


def of_user() -> pathlib.Path | None:
  """Returns posjax/compiled in $XDG_CACHE_HOME or ~/.cache; None if it is not writable."""
  caches = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  try:
    folder = pathlib.Path(caches).expanduser() / 'posjax' / 'compiled'
    folder.mkdir(0o700, parents=True, exist_ok=True)  # writers can run code as this user
  except (OSError, RuntimeError):  # RuntimeError: no home directory
    return None
  return folder if os.access(folder, os.W_OK | os.X_OK) else None


def tidy(folder: pathlib.Path, most: int) -> None:
  """Removes the least recently used entries until the rest takes at most `most` bytes."""
  with contextlib.suppress(FileNotFoundError):  # another process is tidying, too
    files = {path: path.stat() for path in folder.glob('*-cache')}
    size = sum(file.st_size for file in files.values())
    for path in sorted(files, key=lambda path: max(files[path].st_atime, files[path].st_mtime)):
      if size <= most:
        break
      path.unlink()
      size -= files[path].st_size


def drop_failed(folder: pathlib.Path) -> None:
  """Removes entries that JAX cannot read or write, without a warning; they are compiled again.

  JAX would keep an entry that a kill or a full disk has truncated, and warn in each run.
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
