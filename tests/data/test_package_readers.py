"""Readers of the files in packages, on text made up here."""

import json
import struct

import pytest

from posjax.data import docstrings, package_readers


def test_a_book_is_a_document_with_a_verse_per_line():
  verses = [('First', 'In it.'), ('First', 'Out of it.'), ('Second', 'Über it.')]
  lines = [json.dumps({'book': book, 'verse': 1, 'text': text}) for book, text in verses]
  found = package_readers.books(['\n'.join(lines).encode() + b'\n'])
  assert found == [b'In it.\nOut of it.\n\n', 'Über it.\n'.encode()]


def test_reviews_with_both_labels_are_left_out():
  files = ['好\n坏吗\n\n好\n'.encode(), '坏\n坏吗\n'.encode()]
  assert package_readers.sentiment(files) == [
    ('好', 'positive'), ('好', 'positive'), ('坏', 'negative')
  ]


def test_a_category_is_the_first_column_after_three_lines():
  file = b'Category\tText\nd\tstring\nclass\t\nsport\ta ball\n\nspace\ta\x0cmoon ' + b'x' * 200_000
  [(text, label), other] = package_readers.categories([file])
  assert (text, label) == ('a ball', 'sport')
  assert other[1] == 'space' and other[0].startswith('a\x0cmoon xx') and len(other[0]) == 200_007


SENTENCES = '江/nr  泽民/nr  在/p  北京/ns  说/v  ／//w\n\n新华社/nt  上海/ns  １/m\n'.encode()


def test_words_and_their_tags():
  assert list(package_readers.word_tags([SENTENCES])) == [
    (('江', '泽民', '在', '北京', '说', '／/'), ('nr', 'nr', 'p', 'ns', 'v', 'w')),
    (('新华社', '上海', '１'), ('nt', 'ns', 'm')),
  ]


def test_neighbours_with_the_same_tag_are_one_name():
  first, second = package_readers.name_spans([SENTENCES])
  assert ''.join(first[0]) == '江泽民在北京说／/'
  assert first[1] == ('B-PER', 'I-PER', 'I-PER', 'O', 'B-LOC', 'I-LOC', 'O', 'O', 'O')
  assert second[1] == ('B-ORG', 'I-ORG', 'I-ORG', 'B-LOC', 'I-LOC', 'O')


def test_the_last_column_is_the_tag():
  file = '七月\tX\t名詞\tB-DAT\nに\tO\n\n東京\tY\tB-LOC\n\u3000\tZ\tI-LOC\n\n'.encode()
  assert list(package_readers.first_and_last_columns([file])) == [
    (('七月', 'に'), ('B-DAT', 'O')), (('東京', '\u3000'), ('B-LOC', 'I-LOC')),
  ]


def catalogue(messages):
  """Returns a compiled gettext catalogue, in the format of GNU gettext's manual, section 10.3."""
  messages = {'': 'Content-Type: text/plain; charset=UTF-8\n'} | messages
  pairs = [(key.encode(), messages[key].encode()) for key in sorted(messages)]
  start = 28 + 16 * len(pairs)
  tables, texts = [[], []], b''
  for column, table in enumerate(tables):
    for pair in pairs:
      table += [len(pair[column]), start + len(texts)]
      texts += pair[column] + b'\0'
  header = struct.pack('<7I', 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
  return header + struct.pack(f'<{4 * len(pairs)}I', *tables[0], *tables[1]) + texts


def test_translations_are_sentences_without_markup():
  first = {
    'Open a file': '打开文件',
    'menu\x04Close': '关闭',  # with a note to the translator
    'The file\n      is open.\n': '文件\n已打开。',
    'one page\0pages': '一页\0多页',  # with a plural form
    'Save': 'Save',
    'Cut': '',
    'Delete %(name)s': '删除 %(name)s',
    'Delete %s': '删除 %s',
    'Delete %1?': '删除 %1？',
    'Delete {name}': '删除 {name}',
    '<b>Bold</b>': '粗体',
    'Bold': '<b>粗体</b>',
    'A -> B, 5 % of it': '甲 -> 乙，百分之五',
  }
  found = list(package_readers.translations([catalogue(first), catalogue({'Open': '打开'})]))
  assert sorted(found) == sorted([
    ('Open a file', '打开文件'), ('Close', '关闭'), ('The file is open.', '文件 已打开。'),
    ('one page', '一页'), ('A -> B, 5 % of it', '甲 -> 乙，百分之五'), ('Open', '打开'),
  ])


def test_turns_and_alternative_answers():
  turns = b"""
categories: [greetings]
conversations:
- [Hello, Hi, 'How are you?']
- a statement
- - What is 1 + 1?
  - '2'
"""
  alternatives = turns.replace(b'greetings', b'emotion')
  assert list(package_readers.exchanges([turns])) == [
    (('Hello', 'Hi', 'How are you?'),), (('What is 1 + 1?', '2'),)
  ]
  assert list(package_readers.exchanges([alternatives])) == [
    (('Hello', 'Hi'),), (('Hello', 'How are you?'),), (('What is 1 + 1?', '2'),)
  ]


LONG = ' '.join(['word'] * 20)


@pytest.mark.parametrize('docstring, found', [
  (f'Do it.\n\n  {LONG}\n  more\n', [(f'{LONG}\nmore', 'Do it.')]),
  (f'Do it.\n\n  {LONG[5:]}\n', []),  # one word less
  (f'Do it, and\n  do it well.\n\n  {LONG}\n', []),  # the first line is not the summary
  (f'{LONG}', []),
])
def test_a_summary_is_followed_by_a_blank_line(docstring, found):
  module = f'class A:\n  async def b():\n    """{docstring}"""\n'.encode()
  assert list(docstrings.summaries(module)) == found
