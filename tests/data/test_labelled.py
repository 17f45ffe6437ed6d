"""Labelled records of local files and of Python's docstrings."""

import csv
import json
import sys
import sysconfig

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from posjax import data
from posjax.data import __main__ as command_of_data
from posjax.data import records
from posjax.data.corpus import SPLITS, digest_records
from posjax.errors import UserError

ROWS = [
  {
    'text': f'Line {number},\nwith "quotes" und Ümlaut\r\n',
    'label': ['spam', 'ham'][number % 3 > 0],
    'tokens': [f'w{i}' for i in range(number % 4)], 'tags': ['O'] * (number % 4),
  }
  for number in range(60)
]
FIELDS = ('tokens', 'label', 'text')


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  return tmp_path


def write_csv(path, rows, **settings):
  with open(path, 'w', newline='', encoding='utf-8') as file:
    writer = csv.DictWriter(file, rows[0].keys(), **settings)
    writer.writeheader()
    for row in rows:
      writer.writerow({k: ' '.join(v) if isinstance(v, list) else v for k, v in row.items()})


def refused(corpus, fields=('text', 'label'), **settings):
  with pytest.raises(UserError) as error:
    data.load_records(corpus, fields=fields, **settings)
  assert '\n' not in str(error.value)
  return str(error.value)


# Files.


def test_the_same_records_in_each_format(folder):
  (folder / 'a.jsonl').write_text('\n\n'.join(map(json.dumps, ROWS)))
  pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / 'a.parquet')
  write_csv('a.csv', ROWS)
  write_csv('b.csv', ROWS, quoting=csv.QUOTE_ALL, lineterminator='\n')
  (folder / 'b.csv').write_bytes(b'\xef\xbb\xbf' + (folder / 'b.csv').read_bytes())
  expected = [(tuple(row['tokens']), row['label'], row['text']) for row in ROWS]
  dealt = records.deal(len(ROWS))
  for corpus in ('jsonl:a.jsonl', 'parquet:a.parquet', 'csv:a.csv', 'csv:b.csv'):
    found = data.load_records(corpus, fields=FIELDS)
    for split in SPLITS:
      assert list(found.records(split)) == [expected[number] for number in dealt[split]]
    assert (found.name, found.count, found.fields) == (corpus, 60, FIELDS)
    assert found.sha256 == digest_records(expected)
  assert data.load_records('csv:a.csv', fields=('label',)).sha256 != found.sha256
  assert str(found) == (
    f'csv:b.csv: 60 records of tokens, label, text, SHA-256 {digest_records(expected)[:12]}'
  )
  with pytest.raises(UserError, match="^records have the splits train, validation, test, not 'a'"):
    found.records('a')


def test_a_hash_separates_values_and_records():
  lists = [
    [('ab', 'c')], [('a', 'bc')], [('a b', 'c')], [(('a', 'b'), 'c')], [('ab',), ('c',)],
    [('abc',)], [('ab\nc',)], [('ab"], ["c',)],
  ]
  assert len({digest_records(found) for found in lists}) == len(lists)


def test_csv_is_text_as_jsonl_is(folder):
  (folder / 'a.jsonl').write_text('\n'.join(map(json.dumps, ROWS)))
  write_csv('a.csv', ROWS)
  for fields in (('text',), ('label', 'text')):
    texts = [data.load(corpus, fields=fields) for corpus in ('jsonl:a.jsonl', 'csv:a.csv')]
    assert texts[0].sha256 == texts[1].sha256 and texts[0].files == 60
  tokens = data.load('csv:a.csv', fields=('tokens',))  # lists remain text
  assert {*tokens.documents('train')} == {b'w0', b'w0 w1', b'w0 w1 w2'}


def test_whole_numbers_are_digits(folder):
  rows = [{'label': number, 'tags': [number, 7]} for number in (-1, 0, 12)]
  (folder / 'a.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  found = data.load_records('jsonl:a.jsonl', fields=('label', 'tags'))
  every = [record for split in SPLITS for record in found.records(split)]
  assert sorted(every) == [('-1', ('-1', '7')), ('0', ('0', '7')), ('12', ('12', '7'))]


def test_a_long_value_of_csv(folder):
  rows = [{'text': 'long ' * 50_000, 'label': str(number)} for number in range(3)]
  write_csv('a.csv', rows)
  [(text,)] = data.load_records('csv:a.csv', fields=('text',)).records('test')
  assert text == rows[0]['text']


def test_a_test_split_of_the_source_is_not_dealt():
  for count, own, share in ((7, 3, 1), (100, 20, 4), (10_000, 5000, 250)):
    dealt = records.deal(count, own)
    assert dealt['test'] == [*range(count - own, count)]
    assert len(dealt['validation']) == share
    assert sorted(dealt['train'] + dealt['validation']) == [*range(count - own)]
    assert dealt == records.deal(count, own)
  assert np.mean(dealt['validation']) == pytest.approx(2500, abs=300)  # spread over the records


@pytest.mark.parametrize('content, said', [
  ('text,label\na,b\nc,d,e\n', 'a.csv:3: 3 values; the header names 2 fields'),
  ('text,label\na,b\n\n"c\nd"\n', 'a.csv:5: 1 values; the header names 2 fields'),
  ('text,lable\na,b\n', 'a.csv:1: no field label; did you mean lable? Each of data.fields must be '
   'one of text, lable'),
  ('text,label\na,"b\n', 'a.csv:2: not CSV (unexpected end of data)'),
  ('text,label\na,"b"c\n', "a.csv:2: not CSV (',' expected after '\"')"),
  ('text,label\na,b\nc,\udcff\n', "a.csv:3: not UTF-8 ('utf-8' codec can't decode byte 0xff in"),
  ('text,label\na,b\n', 'csv:a.csv: 1 records; 3 are needed, one for each split'),
  ('', 'csv:a.csv: 0 records; 3 are needed, one for each split'),
])
def test_wrong_csv_files_are_named(folder, content, said):
  (folder / 'a.csv').write_bytes(content.encode('utf-8', 'surrogateescape'))
  assert refused('csv:a.csv').startswith(said)


@pytest.mark.parametrize('label, said', [
  ('null', 'null'), ('1.5', 'a number'), ('true', 'a boolean'), ('{"a": 1}', 'an object'),
  ('["a", null]', 'null'), ('[["a"]]', 'a list'),
])
def test_wrong_values_are_named(folder, label, said):
  (folder / 'a.jsonl').write_text(f'{{"text": "", "label": ""}}\n{{"text": "", "label": {label}}}')
  assert refused('jsonl:a.jsonl') == (
    f'a.jsonl:2: the field label has {said}, not a string, a whole number, or a list of these'
  )


@pytest.mark.parametrize('corpus, settings, said', [
  ('text:a.txt', {}, 'data.corpus = text:a.txt: the start must be one of tfds:, jsonl:, '),
  ('csv:b.csv', {}, 'csv:b.csv: no file matches (from '),
  ('csv:a.csv', dict(fields=()), 'data.fields is empty: name at least one field, such as text'),
  ('csv:a.csv', dict(test='test[:5%]'), 'csv:a.csv has the splits train, validation, test, not'),
  ('python:docstring', {}, 'corpus python:docstring: did you mean docstrings? The name must be '),
  ('python:docstrings', dict(fields=('text',)), 'no field text; each of data.fields must be one '),
])
def test_errors_are_one_line(folder, corpus, settings, said):
  assert said in refused(corpus, **settings)


# Docstrings, and the command.


def test_docstrings_of_a_library(tmp_path, monkeypatch):
  rest = ' '.join(f'word {number}' for number in range(10))
  for number in range(9):
    function = f'def f():\n  """Return {number // 3}.\n\n  {rest}\n  """\n'
    (tmp_path / f'm{number}.py').write_text(f'{function}\n\nclass A:\n  """No rest."""\n')
  monkeypatch.setattr(sysconfig, 'get_paths', lambda: {'stdlib': str(tmp_path)})
  found = data.load_records('python:docstrings', fields=('summary', 'document'))
  every = sorted(record for split in SPLITS for record in found.records(split))
  assert every == [(f'Return {number}.', rest) for number in range(3)]  # each pair once
  assert found.name == 'python:docstrings ({}.{}.{})'.format(*sys.version_info)


def test_the_command_shows_records(folder, capsys):
  write_csv('a.csv', ROWS)
  assert command_of_data.main(['csv:a.csv', '--records', '--fields=text,label,tags']) == 0
  said = capsys.readouterr().out.splitlines()
  assert said[0].startswith('records     csv:a.csv: 60 records of text, label, tags, SHA-256 ')
  assert said[1:4] == [
    'train       train: 54 records', 'validation  validation: 3 records',
    'test        test: 3 records',
  ]
  train = data.load_records('csv:a.csv', fields=('label', 'tags')).records('train')
  labels = [label for label, _ in train]
  spam, tags = labels.count('spam'), sum(len(tags) for _, tags in train)
  assert said[5:8] == [
    'text        Line 0, with "quotes" und Ümlaut', 'label       spam', 'tags        ',
  ]
  assert said[9:] == [
    f'label       2 labels: ham {54 - spam}, spam {spam}', f'tags        1 labels: O {tags}',
  ]
  assert command_of_data.main(['csv:a.csv', '--records', '--fields=txt']) == 2
  assert 'did you mean text?' in capsys.readouterr().err
