"""Local files of users: links, patterns, compressed files, byte order marks, binary files."""

import bz2
import gzip
import importlib
import lzma
import os
import sys
import warnings

import numpy as np
import pytest

from posjax import data
from posjax.data.corpus import SPLITS
from posjax.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """An empty folder, which is the working directory: corpora are named relative to it."""
  monkeypatch.chdir(tmp_path)
  return tmp_path


def text_of(number, lines=40):
  return b''.join(b'line %d of text %d\n' % (line, number) for line in range(lines))


def documents(corpus):
  """Returns the documents of a corpus, each merged from its three parts."""
  corpus = data.load(corpus)
  return list(map(b''.join, zip(*map(corpus.documents, SPLITS), strict=True)))


def refused(corpus):
  with pytest.raises(UserError) as error:
    data.load(corpus)
  assert '\n' not in str(error.value)
  return str(error.value)


# Links and patterns.


def test_a_link_to_a_parent_adds_nothing(folder):
  (folder / 'deep/er').mkdir(parents=True)
  for number, name in enumerate(('a.txt', 'b.txt', 'deep/c.txt', 'deep/er/d.txt')):
    (folder / name).write_bytes(text_of(number))
  plain = data.load('text:**/*.txt')
  assert plain.files == 4
  for name, target in (('self', '.'), ('again', '.'), ('deep/up', '..'), ('deep/er/top', folder)):
    (folder / name).symlink_to(target)
  assert documents('text:**/*.txt') == [text_of(number) for number in (0, 1, 2, 3)]
  assert data.load('text:**/*.txt') == plain
  assert documents(f'text:{folder}/**/*.txt') == documents('text:**') == documents('text:./**/*.*')
  assert documents('text:deep/**/*.txt') == [text_of(2), text_of(3), text_of(0), text_of(1)]
  assert documents('text:**/er/**/d.txt') == [text_of(3)]


def test_links_are_followed_once(folder):
  (folder / 'elsewhere').mkdir()
  (folder / 'books').mkdir()
  (folder / 'elsewhere/z.txt').write_bytes(text_of(1))
  (folder / 'books/linked').symlink_to('../elsewhere')
  assert documents('text:books/**/*.txt') == [text_of(1)]
  (folder / 'books/a.txt').symlink_to('../elsewhere/z.txt')
  os.link(folder / 'elsewhere/z.txt', folder / 'books/hard.txt')
  (folder / 'books/own.txt').write_bytes(text_of(1))  # a second document with equal text
  assert documents('text:books/**/*.txt') == [text_of(1), text_of(1)]
  assert documents('text:*/*.txt') == [text_of(1), text_of(1)]


def test_hidden_folders_are_left_out(folder):
  for name in ('.git', 'src', 'src/.cache'):
    (folder / name).mkdir()
    (folder / name / 'a.txt').write_bytes(text_of(len(name)))
  assert documents('text:**/*.txt') == [text_of(3)]
  assert documents('text:src/.cache/**') == [text_of(10)]


def test_a_name_that_is_a_pattern_is_a_file_where_it_exists(folder):
  for number, name in enumerate(('a[1].txt', 'a1.txt', 'b?.txt', 'b2.txt')):
    (folder / name).write_bytes(text_of(number))
  assert documents('text:a[1].txt') == [text_of(0)]
  assert documents('text:b?.txt') == [text_of(2)]
  assert documents('text:a[0-9].txt') == [text_of(1)]
  (folder / 'a[1].txt').unlink()
  assert documents('text:a[1].txt') == [text_of(1)]
  (folder / 'books [old]').mkdir()
  (folder / 'books [old]/c.txt').write_bytes(text_of(7))
  assert documents('text:books [old]/*.txt') == documents('text:books [old]/**/*') == [text_of(7)]


# Bytes.


def test_a_byte_order_mark_is_dropped_and_all_else_is_kept(folder):
  text = 'Zeile\r\nmit Größe\rund\n\ufeff\r\n'.encode() + b'\xff\xe9latin' + b'\r\n'
  (folder / 'a.txt').write_bytes(b'\xef\xbb\xbf' + text)
  (folder / 'b.txt').write_bytes(text)
  (folder / 'c.txt').write_bytes(b'\xef\xbb\xbf')  # nothing is left
  assert documents('text:*.txt') == [text, text]
  corpus = data.load('text:*.txt')
  assert (corpus.files, corpus.bytes) == (2, 2 * len(text))


@pytest.mark.parametrize('name, text, said', [
  ('b.txt', b'lead\0er', 'look binary, the first is b.txt; their bytes are used as they are; mat'),
  ('b.txt', 'two words'.encode('utf-16'), 'are UTF-16, not UTF-8, the first is b.txt; their bytes'),
  ('b.txt', b'\xfe\xff\0a\0b', 'are UTF-16, not UTF-8, the first is b.txt; their bytes are used'),
  ('b.jsonl', b'{"text": "a"}\n', 'hold JSON records, the first is b.jsonl; their bytes are used '
   'as they are; to read the text in each record, use jsonl: instead of text:'),
  ('b.txt.gz', gzip.compress(b'{"text": ""}'), 'hold JSON records, the first is b.txt.gz; their'),
  ('b.parquet', b'PAR1\0', 'are Parquet files, the first is b.parquet; their bytes are used as '
   'they are; to read the text in each record, use parquet: instead of text:'),
], ids=['zeros', 'with mark', 'without', 'records', 'compressed', 'parquet'])  # fmt: skip
def test_binary_files_are_warned_about_once(folder, name, text, said):
  (folder / 'a.txt').write_bytes(text_of(0))
  (folder / name).write_bytes(text)
  (folder / f'c{name[1:]}').write_bytes(text)
  with pytest.warns(UserWarning) as warned:
    data.load('text:*')
  [message] = map(str, (w.message for w in warned))
  assert message.startswith(f'text:*: 2 of 3 files {said}')
  assert '\n' not in message
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    data.load('text:a.txt')
    (folder / 'code.txt').write_text('{\n  "text": "is no record of one line"\n}\n' * 9)
    data.load('text:code.txt')


# Compressed files.


def zstd_compress(text):
  zstandard = pytest.importorskip('zstandard')
  writer = zstandard.ZstdCompressor().compressobj()  # its frame does not record the text's size
  return writer.compress(text[:100]) + writer.flush() + zstandard.compress(text[100:])


COMPRESS = {
  '.gz': gzip.compress, '.bz2': bz2.compress, '.xz': lzma.compress, '.zst': zstd_compress,
}


@pytest.mark.parametrize('suffix', COMPRESS)
def test_compressed_files_are_read_as_their_contents(folder, suffix):
  texts = [b'\xef\xbb\xbf' + text_of(1), text_of(2, lines=9000)]
  for name, text in zip(('a.txt', 'b.txt'), texts, strict=True):
    (folder / name).write_bytes(text)
    (folder / (name + suffix)).write_bytes(COMPRESS[suffix](text))
  corpora = data.load('text:?.txt'), data.load(f'text:*{suffix}')
  for split in SPLITS:
    assert list(corpora[0].documents(split)) == list(corpora[1].documents(split))
  assert corpora[0].bytes == corpora[1].bytes == sum(map(len, texts)) - 3
  (folder / f'b.txt{suffix}').rename(folder / f'B{suffix.upper()}')
  (folder / f'empty{suffix}').write_bytes(b'')
  assert documents(f'text:B{suffix.upper()}') == texts[1:]
  assert 'every file that matches is empty' in refused(f'text:empty{suffix}')


@pytest.mark.parametrize('suffix', COMPRESS)
@pytest.mark.parametrize('damage', [
  lambda content: content[: len(content) // 2], lambda content: content[:-1],
  lambda content: b'no such format', lambda content: content + content[:20],
])  # fmt: skip
def test_damaged_archives_are_named(folder, suffix, damage):
  content = COMPRESS[suffix](np.random.default_rng(0).bytes(3000))
  (folder / f'a{suffix}').write_bytes(content)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # random bytes look binary
    data.load(f'text:a{suffix}')
  (folder / f'a{suffix}').write_bytes(damage(content))
  assert refused('text:a.*').startswith(f'a{suffix} is corrupt, or not a {suffix} file (')


def test_without_zstandard_the_error_is_one_line(folder, monkeypatch):
  (folder / 'a.zst').write_bytes(b'content')
  monkeypatch.setitem(sys.modules, 'zstandard', None)
  monkeypatch.delitem(sys.modules, 'posjax.data.zstd', raising=False)
  assert refused('text:a.zst') == (
    "a.zst cannot be read without zstandard; for zstandard: pip install -e '.[zstd]'"
  )


def test_running_out_of_memory_is_not_corruption(folder, monkeypatch):
  (folder / 'a.gz').write_bytes(gzip.compress(b'text'))

  def give_out(content):
    raise MemoryError

  monkeypatch.setattr(importlib.import_module('gzip'), 'decompress', give_out)
  with pytest.raises(MemoryError):
    data.load('text:a.gz')


def test_a_compressed_file_that_changes_is_noticed(folder):
  path = folder / 'a.gz'
  path.write_bytes(gzip.compress(text_of(1)))
  corpus = data.load('text:a.gz')
  before = path.stat().st_mtime_ns
  for text, time in ((text_of(2), before + 1), (text_of(2, lines=99), before)):
    path.write_bytes(gzip.compress(text))
    os.utime(path, ns=(time, time))
    with pytest.raises(UserError, match='a.gz has changed since this run began'):
      corpus.documents('train')[0]
