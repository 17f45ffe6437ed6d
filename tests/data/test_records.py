"""Records of JSON Lines and Parquet: equal documents in both, splits, and errors."""

import bz2
import collections
import gzip
import json
import lzma
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from posjax import data
from posjax.data import records
from posjax.data.corpus import SPLITS
from posjax.errors import UserError
from tests.data.test_text_files import zstd_compress
from tests.support.text import batches

RECORDS = [
  {'id': number, 'title': f'Überschrift {number}', 'text': f'record {number}\n' * (number % 7)}
  for number in range(60)
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  return tmp_path


def as_json(rows, separator='\n'):
  return separator.join(json.dumps(row, ensure_ascii=row['id'] % 2 > 0) for row in rows).encode()


def write_parquet(path, rows, **settings):
  pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, **settings)


def refused(corpus, **settings):
  with pytest.raises(UserError) as error:
    data.load(corpus, **settings)
  assert '\n' not in str(error.value)
  return str(error.value)


def in_order(corpus):
  """Returns all documents, merged from the splits in the order of the records."""
  dealt = records.deal(corpus.files)
  found = {}
  for split in SPLITS:
    found |= dict(zip(dealt[split], corpus.documents(split), strict=True))
  return [found[number] for number in range(corpus.files)]


def test_the_same_records_are_the_same_corpus_in_each_format(folder):
  """Records without text are left out; byte order marks, CRLF and blank lines are not text."""
  for name, compress in {
    'gz': gzip.compress, 'bz2': bz2.compress, 'xz': lzma.compress, 'zst': zstd_compress,
  }.items():
    (folder / f'a.jsonl.{name}').write_bytes(compress(as_json(RECORDS)))
  (folder / 'plain.jsonl').write_bytes(b'\xef\xbb\xbf' + as_json(RECORDS, '\r\n\r\n'))
  (folder / 'part1.jsonl').write_bytes(as_json(RECORDS[:25]) + b'\n')
  (folder / 'part2.jsonl').write_bytes(as_json(RECORDS[25:]))
  write_parquet(folder / 'rows.parquet', RECORDS, row_group_size=7)
  write_parquet(folder / 'some1.parquet', RECORDS[:40])
  write_parquet(folder / 'some2.parquet', RECORDS[40:])
  corpora = [
    data.load(name) for name in (
      'jsonl:plain.jsonl', 'jsonl:part*.jsonl', 'parquet:rows.parquet', 'parquet:some*',
      *(f'jsonl:a.jsonl.{name}' for name in ('gz', 'bz2', 'xz', 'zst')),
    )
  ]
  texts = [row['text'].encode() for row in RECORDS if row['text']]
  assert str(corpora[0]) == (
    f'jsonl:plain.jsonl: {len(texts)} records, 0.00 MB, SHA-256 {corpora[0].sha256[:12]}'
  )
  for corpus in corpora:
    assert in_order(corpus) == texts
    assert (corpus.sha256, corpus.bytes) == (corpora[0].sha256, sum(map(len, texts)))


def test_fields_are_joined_by_newlines_in_the_order_they_are_named(folder):
  (folder / 'a.jsonl').write_bytes(as_json(RECORDS))
  write_parquet(folder / 'a.parquet', RECORDS)
  for kind in ('jsonl', 'parquet'):
    corpus = data.load(f'{kind}:a.{kind}', fields=('text', 'title'))
    assert in_order(corpus) == [f'{row["text"]}\n{row["title"]}'.encode() for row in RECORDS]
  assert corpus.sha256 != data.load('jsonl:a.jsonl').sha256


def test_splits_depend_only_on_the_record_number():
  """Splits never change: 90, 5 and 5 percent; each part of sorted records occurs in all splits."""
  assert records.deal(24) == {
    'test': [11], 'validation': [10], 'train': [n for n in range(24) if n not in (10, 11)],
  }
  assert {split: len(numbers) for split, numbers in records.deal(3).items()} == dict.fromkeys(
    SPLITS, 1
  )
  dealt = records.deal(10_000)
  assert sorted(sum(dealt.values(), [])) == [*range(10_000)]
  for split, share in (('train', 900), ('validation', 50), ('test', 50)):
    tenths = collections.Counter(number // 1000 for number in dealt[split])
    assert sum(tenths.values()) == 10 * share
    assert max(abs(count - share) for count in tenths.values()) < 25


def test_records_make_batches(folder):
  (folder / 'a.jsonl').write_bytes(as_json(RECORDS))
  corpus = data.load('jsonl:a.jsonl')
  rows = next(batches(corpus, length=32, batch=4, seed=0))
  (folder / 'a.jsonl').unlink()  # the hashed text is the text that is read
  seen = rows.targets[rows.stream.segment_ids >= 0]
  assert len(seen) > 100 and np.isin(seen, np.frombuffer(b'record 0123456789\n', np.uint8)).all()
  [text] = data.excerpts(corpus, 'test', tokens=10_000, excerpt=100)
  assert data.decode(text).count(b'record ') == b''.join(corpus.documents('test')).count(b'\n')


@pytest.mark.parametrize('line, said', [
  ('{"txt": "a", "id": 3}',
   'no field text; did you mean txt? Each of data.fields must be one of txt, id'),
  ('{"id": 3}', 'no field text; each of data.fields must be one of id'),
  ('{"text": null}', 'the field text is null, not a string'),
  ('{"text": ["a"]}', 'the field text is a list, not a string'),
  ('{"text": 3.5}', 'the field text is a number, not a string'),
  ('{"text": true}', 'the field text is a boolean, not a string'),
  ('"text"', 'a string; each line must be a record such as {"text": "…"}'),
  ('[{"text": "a"}]', 'a list; each line must be a record such as {"text": "…"}'),
  ('{"text": "a"', "not JSON (Expecting ',' delimiter: line 1 column 13 (char 12)); each line"),
  ('plain text', 'not JSON (Expecting value: line 1 column 1 (char 0)); each line must be a rec'),
  ('[' * 100_000, 'not JSON ('),
])
def test_a_wrong_line_is_named(folder, line, said):
  (folder / 'a.jsonl').write_text('{"text": "good"}\n')
  (folder / 'b.jsonl').write_text(f'{{"text": "good"}}\n\n{line}\n')
  assert refused('jsonl:*.jsonl').startswith(f'b.jsonl:3: {said}')


def test_invalid_text_is_named(folder):
  (folder / 'a.jsonl').write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
  assert refused('jsonl:a.jsonl').startswith("a.jsonl:2: not JSON ('utf-8' codec can't decode byte")
  (folder / 'a.jsonl').write_bytes(b'{"text": "\\ud800"}\n' * 3)  # an unpaired UTF-16 surrogate
  assert in_order(data.load('jsonl:a.jsonl')) == [b'\xed\xa0\x80'] * 3


def test_wrong_parquet_files_are_named(folder, monkeypatch):
  write_parquet(folder / 'a.parquet', RECORDS)
  assert refused('parquet:a.parquet', fields=('title', 'txt')) == (
    'a.parquet: no field txt; did you mean text? Each of data.fields must be one of id, title, text'
  )
  assert refused('parquet:a.parquet', fields=('id',)) == (
    'a.parquet:1: the field id is a number, not a string'
  )
  write_parquet(folder / 'b.parquet', [{'text': b'a'}])
  assert refused('parquet:b.parquet') == 'b.parquet:1: the field text is bytes, not a string'
  write_parquet(folder / 'b.parquet', [{'text': 'a'}, {'text': None}])
  assert refused('parquet:b.parquet') == 'b.parquet:2: the field text is null, not a string'
  content = (folder / 'a.parquet').read_bytes()
  pages = len(content) - 8 - int.from_bytes(content[-8:-4], 'little')  # the footer follows
  for damaged in (content[:-9], b'PAR1' + bytes(pages - 4) + content[pages:], b'{"text": "a"}'):
    (folder / 'a.parquet').write_bytes(damaged)
    assert refused('parquet:a.parquet').startswith('a.parquet is corrupt, or not a Parquet file (')
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  assert refused('parquet:a.parquet') == (
    "a.parquet cannot be read without pyarrow; run: pip install -e '.[parquet]'"
  )


@pytest.mark.parametrize('corpus, settings, said', [
  ('jsonl:a.jsonl', {}, 'jsonl:a.jsonl: 2 records have text; 3 are needed, one for each split'),
  ('jsonl:b.jsonl', {}, 'jsonl:b.jsonl: no file matches (from '),
  ('jsonl:a.jsonl', dict(fields=()), 'data.fields is empty: name at least one field, such as text'),
  ('jsonl:a.jsonl', dict(test='train[:5%]'), 'jsonl:a.jsonl has the splits train, validation,'),
  ('text:a.jsonl', dict(fields=('title',)), 'data.fields = title: text: has no records to read'),
  ('json:a.jsonl', {}, 'data.corpus = json:a.jsonl: did you mean jsonl:? The start must be one of '
   'tfds:, text:, jsonl:, parquet:, csv:, package:, followed by a name or pattern'),
])
def test_errors_for_invalid_corpora_are_one_line(folder, corpus, settings, said):
  (folder / 'a.jsonl').write_text('{"text": "a"}\n{"text": ""}\n{"text": "b"}\n')
  assert refused(corpus, **settings).startswith(said)
