"""Work directories and corpora in Google Cloud Storage: `gs://BUCKET/PATH`.

Orbax writes checkpoints to the bucket itself. All other files of a run are written to a local
folder, which is fetched before a run resumes and uploaded with each checkpoint. A corpus is copied
to a local folder before it is read. For a local path, every function does what `pathlib` does.

A bucket has no rename, no append and no flock: a checkpoint is complete when Orbax has written
commit_success.txt, files are uploaded whole, and the lock is an object that each write expects in
the version of the last one.
"""

import contextlib
import hashlib
import importlib.util
import os
import pathlib
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from posjax.errors import UserError, one_line
from posjax.runtime import files

SCHEME = 'gs://'
LEASE = 60  # seconds without a renewal after which a lock is void


def is_remote(path: os.PathLike | str) -> bool:
  return str(path).startswith(SCHEME)


def check(key: str, path: str) -> None:
  """Raises UserError unless `path` is local, or in a bucket that this installation can read."""
  if not is_remote(path):
    files.check_local(key, path)
    return
  if {'', '.', '..'} & set(path.removeprefix(SCHEME).removesuffix('/').split('/')):
    raise UserError(f'{key}={path}: must be gs://BUCKET/PATH, without empty parts, . or ..')
  if not importlib.util.find_spec('gcsfs'):
    raise UserError(
      f"{key}={path}: gcsfs is not installed; in the folder of setup.py, run: "
      "pip install -e '.[gcs]'; or mount the bucket"
    )


def check_corpus(key: str, corpus: str) -> None:
  """Does what `check` does, for a corpus such as 'text:gs://BUCKET/*.txt'."""
  kind, _, pattern = corpus.partition(':')
  if kind != 'tfds' and is_remote(pattern):
    check(key, pattern)
  else:
    files.check_local(key, corpus)


def path(workdir: os.PathLike | str) -> Any:
  """Returns a work directory as an absolute path: of pathlib, or of etils for a bucket."""
  if not is_remote(workdir):
    return pathlib.Path(workdir).absolute()
  from etils import epath

  with reaching(workdir), contextlib.suppress(FileNotFoundError):
    file_system().info(str(workdir))
  return epath.Path(workdir)


def file_system() -> Any:
  """Returns the file system of all buckets, without a cache: Orbax writes past it."""
  import fsspec

  for protocol in ('gs', 'gcs'):  # etils makes its own file system, from these defaults
    fsspec.config.conf[protocol] = {'use_listings_cache': False}
  return fsspec.filesystem('gs')


@contextlib.contextmanager
def reaching(place: os.PathLike | str) -> Iterator[None]:
  """Raises UserError for errors of a bucket: its name, the rights, the network."""
  try:
    yield
  except (FileNotFoundError, UserError):
    raise
  except Exception as error:  # each library has its own types
    raise UserError(
      f'{place} cannot be reached: {one_line(error)[:200]}; check the name of the bucket, your '
      'login and your rights'
    ) from error


def is_complete(checkpoint: Any) -> bool:
  """Whether a checkpoint is complete; a local one has its name only after it is."""
  return not is_remote(checkpoint) or (checkpoint / 'commit_success.txt').exists()


def move(source: Any, target: Any) -> None:
  """Renames a folder; in a bucket, copies its files and then deletes them."""
  if is_remote(source):
    system, start = file_system(), str(source).removeprefix(SCHEME)
    for name in system.find(start):
      system.cp_file(name, f'{target}{name.removeprefix(start)}')
    system.rm(start, recursive=True)
  else:
    source.rename(target)


@contextlib.contextmanager
def held(workdir: str) -> Iterator[None]:
  """Locks a work directory in a bucket and renews the lock until the block ends.

  The process ends with code 2 when another run has taken the lock, after `LEASE` seconds in which
  this one could not renew it.

  Raises:
    UserError: another run renews its lock, or the bucket cannot be written.
  """
  store = bucket(workdir)
  # Processes in containers may have the same number and host.
  own = f'process {os.getpid()} on {socket.gethostname()} ({secrets.token_hex(4)})'
  held = [take(store, workdir, own)]  # the generation of the lock that this process has written
  ended = threading.Event()
  renewal = threading.Thread(target=renew, args=(store, workdir, own, held, ended), daemon=True)
  renewal.start()
  try:
    yield
  finally:
    ended.set()
    renewal.join()
    with contextlib.suppress(ValueError):  # without a network; the lock will be void
      store.write('lock', None, if_equal=held[0]).result()


def holder(workdir: str) -> str:
  """Returns the text in the lock of `workdir`: the process that holds it."""
  found = bucket(workdir).read('lock').result()
  return 'missing' if found.state == 'missing' else found.value.decode()


def bucket(workdir: str) -> Any:
  """Returns the key-value store of a work directory, whose writes can depend on a generation."""
  import tensorstore

  with reaching(workdir):
    return tensorstore.KvStore.open(f'{workdir.rstrip("/")}/').result()


def take(store: Any, workdir: str, own: str) -> bytes:
  """Writes the lock, unless another process renews it meanwhile; returns its generation."""
  with reaching(workdir):
    found = store.read('lock').result()
    if found.state != 'missing':
      other = found.value.decode()
      print(f'{workdir} is locked by {other}: waiting {LEASE} s for its renewal', flush=True)
      time.sleep(LEASE)
    # It fails if the object has changed since it was read. No clock is compared with another.
    generation = store.write('lock', own.encode(), if_equal=found.stamp.generation).result()
  if not generation.generation:
    raise UserError(
      f'{workdir}: {holder(workdir)} is training here; wait for it, or choose another --workdir'
    )
  return generation.generation


def renew(
  store: Any, workdir: str, own: str, held: list[bytes], ended: threading.Event
) -> None:
  """Renews the lock until `ended`; `held` holds its generation."""
  from posjax.runtime import hosts

  while not ended.wait(LEASE / 4):
    with contextlib.suppress(ValueError):  # the network may return
      renewed = store.write('lock', own.encode(), if_equal=held[0]).result()
      if not renewed.generation:  # TensorStore also repeats a write whose answer was lost
        found = store.read('lock').result()
        if found.value != own.encode():
          hosts.leave_alone(2, f'{workdir}: {found.value.decode()} has taken over this run')
        renewed = found.stamp
      held[0] = renewed.generation


def local(workdir: Any) -> Any:
  """Returns the folder in which a run writes: `workdir` itself unless that is in a bucket."""
  return cache() / 'runs' / str(workdir).removeprefix(SCHEME) if is_remote(workdir) else workdir


class Files:
  """The files of a run, apart from its checkpoints.

  Attributes:
    local: the folder in which they are written.
  """

  def __init__(self, workdir: os.PathLike | str) -> None:
    self._remote = str(workdir).rstrip('/') if is_remote(workdir) else None
    self.local = local(workdir)
    if self._remote:
      self.local.mkdir(parents=True, exist_ok=True)
    self._sent = self._versions()

  def fetch(self) -> None:
    """Replaces the local folder by the run's files in the bucket: those of an earlier attempt."""
    if not self._remote:
      return
    shutil.rmtree(self.local)
    self.local.mkdir()
    with reaching(self._remote), contextlib.suppress(FileNotFoundError):
      for found in (system := file_system()).ls(self._remote, detail=True):
        name = found['name'].rpartition('/')[2]
        if found['type'] == 'file' and name not in ('', 'lock'):
          system.get_file(found['name'], str(self.local / name))
    self._sent = self._versions()
    print(f'files      {self.local}, uploaded with each checkpoint', flush=True)

  def upload(self) -> None:
    """Uploads the files that have changed since the last call."""
    if not self._remote:
      return
    versions = self._versions()
    for file, version in versions.items():
      if self._sent.get(file) != version:
        name = file.relative_to(self.local).as_posix()
        with reaching(self._remote):
          file_system().put_file(str(file), f'{self._remote}/{name}')
    self._sent = versions

  def _versions(self) -> dict[pathlib.Path, tuple[int, int]]:
    """Returns {file: (size, time of modification)} of a local folder that mirrors a bucket."""
    if not self._remote:
      return {}
    found = {file: file.stat() for file in self.local.rglob('*') if file.is_file()}
    return {file: (status.st_size, status.st_mtime_ns) for file, status in found.items()}


def cache() -> pathlib.Path:
  """Returns the folder of local copies: posjax in $XDG_CACHE_HOME or ~/.cache."""
  return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'posjax'


def fetch_corpus(corpus: str) -> str:
  """Copies a corpus such as 'text:gs://BUCKET/*.txt' and returns it with a local pattern.

  The copy's folder is named by the versions of its objects, so that it never changes.

  Raises:
    UserError: no object matches.
  """
  kind, _, pattern = corpus.partition(':')
  if not is_remote(pattern):
    return corpus
  with reaching(pattern):
    system = file_system()
    found = system.glob(pattern, detail=True).items()
  objects = {name: info for name, info in found if info['type'] == 'file'}
  if not objects:
    raise UserError(f'{corpus}: no object matches')
  for name in objects:
    check(corpus, SCHEME + name)
  versions = sorted(f'{name} {info["generation"]}\n' for name, info in objects.items())
  digest = hashlib.sha256(''.join(versions).encode()).hexdigest()[:16]
  folder = cache() / 'corpora' / digest
  if not folder.exists():
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, suffix='.tmp'))
    for name in objects:
      (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
      with reaching(pattern):
        system.get_file(name, str(unfinished / name))
    try:
      unfinished.rename(folder)
    except OSError:  # another process was faster
      shutil.rmtree(unfinished)
  return f'{kind}:{folder}/{pattern.removeprefix(SCHEME)}'
