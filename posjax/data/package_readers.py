"""Readers of the files in packages: the contents of members of an archive -> texts or records."""

import gettext
import gzip
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from posjax.data.corpus import Record

# Tag of a word in the newspaper corpus -> the kind of name.
NAMES = {'nr': 'PER', 'ns': 'LOC', 'nt': 'ORG'}
# Placeholders of Python, Qt and JavaScript, and tags of HTML: %s, %(name)s, %1, {name}, <b>.
MARKUP = re.compile(r'%[(\w]|[{}]|</?\w')
# Files in which a statement is followed by alternative answers, not by turns.
ALTERNATIVES = {'computers', 'emotion'}


def plain(contents: Iterable[bytes]) -> list[bytes]:
  """Returns documents with LF line ends, stripped; each but the last ends with a blank line."""
  texts = [content.replace(b'\r\n', b'\n').strip() for content in contents]
  return [*(text + b'\n\n' for text in texts[:-1]), texts[-1] + b'\n']


def books(contents: Iterable[bytes]) -> list[bytes]:
  """Returns one document per book of JSON Lines with a verse each, one verse per line."""
  verses = [json.loads(line) for content in contents for line in content.splitlines()]
  return plain(
    '\n'.join(verse['text'] for verse in book).encode()
    for _, book in itertools.groupby(verses, lambda verse: verse['book'])
  )


def sentiment(contents: Sequence[bytes]) -> list[Record]:
  """Returns (text, label) for a file of positive and one of negative reviews, a review per line.

  Reviews with both labels are left out.
  """
  positive, negative = (content.decode().split('\n') for content in contents)
  left_out = {*positive} & {*negative} | {''}
  labelled = {'positive': positive, 'negative': negative}.items()
  return [(text, label) for label, texts in labelled for text in texts if text not in left_out]


def categories(contents: Iterable[bytes]) -> Iterator[Record]:
  """Yields (text, label) for tab-separated files: three header lines, then a label and a text."""
  for content in contents:
    for line in filter(None, content.decode().split('\n')[3:]):
      label, text = line.split('\t')
      yield text, label


def word_tags(contents: Iterable[bytes]) -> Iterator[Record]:
  """Yields (words, tags) for lines of word/tag, one sentence per line."""
  for content in contents:
    for line in filter(None, content.decode().split('\n')):
      words, tags = zip(*(pair.rsplit('/', 1) for pair in line.split()), strict=True)
      yield words, tags


def name_spans(contents: Iterable[bytes]) -> Iterator[Record]:
  """Yields (characters, tags) with BIO tags for lines of word/tag; see `NAMES`.

  Neighbours with the same tag are one name: a family name and a given name are two words.
  """
  for words, parts_of_speech in word_tags(contents):
    characters: list[str] = []
    tags: list[str] = []
    pairs = zip(words, parts_of_speech, strict=True)
    for tag, run in itertools.groupby(pairs, lambda pair: pair[1]):
      text = ''.join(word for word, _ in run)
      characters += text
      kind = NAMES.get(tag)
      tags += [f'B-{kind}', *[f'I-{kind}'] * (len(text) - 1)] if kind else ['O'] * len(text)
    yield tuple(characters), tuple(tags)


def first_and_last_columns(contents: Iterable[bytes]) -> Iterator[Record]:
  """Yields (tokens, tags) for lines of tab-separated columns; a blank line ends a sentence."""
  for content in contents:
    for sentence in filter(None, content.decode().split('\n\n')):
      columns = [line.split('\t') for line in sentence.strip('\n').split('\n')]
      yield tuple(row[0] for row in columns), tuple(row[-1] for row in columns)


def translations(contents: Iterable[bytes]) -> Iterator[Record]:
  """Yields (source, target) for the messages of compiled gettext catalogues.

  Untranslated messages, those with `MARKUP` and plural forms are left out. Line breaks, which come
  from the layout of templates, become spaces.
  """
  for content in contents:
    # gettext has no public list of its messages. A key is a message or (message, plural form);
    # the part before \x04 is a note to the translator.
    for key, target in gettext.GNUTranslations(io.BytesIO(content))._catalog.items():
      message, form = key if isinstance(key, tuple) else (key, 0)
      pair = one_paragraph(message.split('\x04')[-1]), one_paragraph(target)
      if form == 0 and all(pair) and pair[0] != pair[1] and not MARKUP.search(' '.join(pair)):
        yield pair


def one_paragraph(text: str) -> str:
  """Returns a text with each line break, and the white space around it, as a single space."""
  return re.sub(r'\s*\n\s*', ' ', text.strip())


def exchanges(contents: Iterable[bytes]) -> Iterator[Record]:
  """Yields (turns,) for YAML files of conversations.

  In `ALTERNATIVES`, a statement and each of its answers are an exchange.
  """
  import yaml  # a dependency of flax

  for content in contents:
    file = yaml.safe_load(content)
    for turns in file['conversations']:
      if isinstance(turns, str):  # one item is a statement without an answer
        continue
      if ALTERNATIVES & {*file['categories']}:
        yield from (((turns[0], answer),) for answer in turns[1:])
      else:
        yield (tuple(turns),)


def labelled_images(contents: Iterable[bytes]) -> Iterator[Record]:
  """Yields (pixels, label) for compressed lines of comma-separated numbers, the last the label."""
  for content in contents:
    for line in gzip.decompress(content).decode().splitlines():
      *pixels, label = line.split(',')
      yield tuple(pixels), label
