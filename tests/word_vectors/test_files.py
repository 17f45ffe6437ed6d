"""Files of word vectors equal gensim's reading of them; damaged files are refused in one line."""

import gzip
import pathlib
import struct

import numpy as np
import pytest

from posjax import word_vectors
from posjax.errors import UserError
from posjax.word_vectors import subwords

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'word_vectors'
EXPECTED = np.load(GOLDEN / 'expected.npz')
NEW, OLD = 'new_cyrillic.bin', 'old_cp852.bin'
FILES = ('word2vec.txt', 'word2vec.bin', 'glove.txt', 'cyrillic.vec', NEW, OLD)


def test_hashes_equal_fasttext():
  """The 32-bit hashes of letters, accents, Cyrillic, Chinese and an emoji."""
  for text, value in zip(EXPECTED['hash/texts'], EXPECTED['hash/values'], strict=True):
    assert subwords.fnv1a(text.encode()) == value
  assert subwords.fnv1a(b'foobar') == 0xBF9CF968  # a published vector of FNV-1a


def test_ngrams_equal_fasttext():
  for word in EXPECTED['ngrams/words']:
    expected = [ngram.encode() for ngram in EXPECTED[f'ngrams/{word}']]
    assert subwords.ngrams(word, 3, 6) == expected
  # The paper's example, and single characters, of which < and > do not count.
  assert subwords.ngrams('where', 3, 3) == [b'<wh', b'whe', b'her', b'ere', b're>']
  assert subwords.ngrams('né', 1, 2) == [b'<n', b'n', 'né'.encode(), 'é'.encode(), 'é>'.encode()]


@pytest.mark.parametrize('name', FILES)
def test_files_equal_gensim(name):
  """Word by word; in the cp852 file, for words that are ASCII, see the next test."""
  words, vectors = word_vectors.read(GOLDEN / name)
  as_read = [word.encode('utf-8', 'surrogateescape') for word in words]
  decoded = [word.decode('cp852' if name == OLD else 'utf-8') for word in as_read]
  assert decoded == EXPECTED[f'{name}/words'].tolist()
  assert vectors.dtype == np.float32
  same = [word.isascii() if name == OLD else word != '</s>' for word in words]
  assert sum(same) > 0.5 * len(words)
  expected = EXPECTED[f'{name}/vectors']
  np.testing.assert_allclose(vectors[same], expected[same], rtol=1e-6, atol=1e-7)


def test_words_that_are_not_utf8_hash_their_bytes():
  """fastText hashes the bytes of the file, here cp852; gensim hashes the same words as UTF-8.

  The rows of the words themselves are equal, and the rest is the mean over n-grams of bytes.
  """
  model = word_vectors.read_subwords(GOLDEN / OLD)
  rows = EXPECTED[f'{OLD}/rows']
  np.testing.assert_array_equal(model.table_RD[: len(rows)], rows)
  word = model.words[1]
  assert word.encode('utf-8', 'surrogateescape') == 'který'.encode('cp852')
  text = b'<' + 'který'.encode('cp852') + b'>'
  ngrams = [text[i : i + n] for n in (2, 3, 4) for i in range(len(text) - n + 1)]
  buckets = [len(rows) + subwords.fnv1a(ngram) % 1000 for ngram in ngrams]
  expected = model.table_RD[[1, *buckets]].mean(axis=0)
  np.testing.assert_allclose(model.vector(word), expected, rtol=1e-5)


@pytest.mark.parametrize('name', [NEW, OLD])
def test_unknown_words_have_the_vectors_of_their_ngrams(name):
  model = word_vectors.read_subwords(GOLDEN / name)
  for word, vector in zip(
    EXPECTED[f'{name}/unknown'], EXPECTED[f'{name}/unknown_vectors'], strict=True
  ):
    assert word not in model.words
    np.testing.assert_allclose(model.vector(word), vector, rtol=1e-5, atol=1e-7)


def test_the_program_itself_wrote_the_same_vectors():
  """cyrillic.vec is what fastText 1b wrote, to five digits, for the model new_cyrillic.bin."""
  words, vectors = word_vectors.read(GOLDEN / 'cyrillic.vec')
  model = word_vectors.read_subwords(GOLDEN / NEW)
  assert words == model.words[: len(words)]
  largest = np.abs(vectors).max()
  assert np.abs(model.vectors()[: len(words)] - vectors).max() < 5e-5 * largest


def to_old(content):
  """Returns a new .bin file in the old layout, which lacks some fields."""
  version, size = 8, 8 + 12 * 4 + 8
  words, _, labels = struct.unpack_from('<3i', content, size)
  at = size + 12 + 8
  entries = at + 8
  end = entries
  for _ in range(words + labels):
    end = content.index(b'\0', end) + 10
  rows, dim = struct.unpack_from('<2q', content, end + 1)
  output = end + 1 + 16 + 4 * rows * dim
  return (content[version:at] + content[entries:end] + content[end + 1 : output]
          + content[output + 1 :])


def test_the_old_layout_has_the_same_vectors(tmp_path):
  content = (GOLDEN / NEW).read_bytes()
  (tmp_path / 'old.bin').write_bytes(to_old(content))
  old, new = (word_vectors.read(path) for path in (tmp_path / 'old.bin', GOLDEN / NEW))
  assert old[0] == new[0]
  np.testing.assert_array_equal(old[1], new[1])


def edit(name, change):
  """Returns the golden file after `change`, a function of bytes."""
  return lambda: change((GOLDEN / name).read_bytes())


def at(offset, kind, value):
  """Returns a change that puts a number of a struct kind at an offset."""
  def change(content):
    size = struct.calcsize(kind)
    return content[:offset] + struct.pack(kind, value) + content[offset + size :]
  return change


HEADER = 8 + 12 * 4 + 8  # bytes before the vocabulary of the new layout
DAMAGED = {
  'empty': (lambda: b'', 'is empty'),
  'only a header': (lambda: b'3 4\n', 'its header promises 3 vectors of 4 numbers'),
  'no numbers': (lambda: b'word\n', ':1: expected a word and its numbers'),
  'text short': (edit('word2vec.txt', lambda c: c[: c.rindex(b'\n', 0, -1) + 1]),
                 'its header promises 20 words, but it has 19'),
  'text long': (edit('word2vec.txt', lambda c: c + c[c.index(b'\n') + 1 :]),
                'its header promises 20 words, but it has 40'),
  'text cut': (edit('word2vec.txt', lambda c: c[:-30]), ':21: expected a word and 10 numbers'),
  'text wrong': (edit('word2vec.txt', lambda c: c.replace(b'-2.197760', b'-2.l97760')),
                 ':3: expected a word and 10 numbers'),
  'wider': (edit('word2vec.txt', lambda c: c.replace(b'20 10\n', b'20 12\n')), 'corrupt'),
  'glove cut': (edit('glove.txt', lambda c: c[:-30]), ':8: expected a word and 50 numbers'),
  'binary cut': (edit('word2vec.bin', lambda c: c[:-5]),
                 'its header promises 20 vectors of 10 numbers, but it ends in number 20'),
  'binary half': (edit('word2vec.bin', lambda c: c[:400]), 'promises 20 vectors of 10 numbers'),
  'binary long': (edit('word2vec.bin', lambda c: c + c[6:]), 'but it has more'),
  'binary lie': (edit('word2vec.bin', lambda c: c.replace(b'20 10\n', b'999999999999 10\n')),
                 'its header promises 999,999,999,999 vectors of 10 numbers'),
  'fasttext cut': (edit(NEW, lambda c: c[:-4]), 'it ends 4 bytes too early'),
  'fasttext header': (edit(NEW, lambda c: c[:30]), 'too early'),
  'fasttext vocabulary': (edit(NEW, lambda c: c[:300]), 'it ends within its vocabulary'),
  'fasttext long': (edit(NEW, lambda c: c + b'\0\0'), 'it continues for 2 bytes after its end'),
  'fasttext buckets': (edit(NEW, at(8 + 8 * 4, '<i', 99)), 'a table is 391 x 5, not 390 x 5'),
  'fasttext dim': (edit(NEW, at(8, '<i', 6)), 'a table is 391 x 5, not 391 x 6'),
  'fasttext counts': (edit(NEW, at(HEADER, '<i', 9)), '9 entries are not 291 words and 0 labels'),
  'fasttext more': (edit(OLD, lambda c: c[:-1]), 'it ends 1 bytes too early'),
  'quantized': (edit(NEW, at(HEADER + 20, '<q', 7)), 'its tables are quantized'),
}


@pytest.mark.parametrize('name', DAMAGED)
def test_damaged_files_are_refused(name, tmp_path):
  content, message = DAMAGED[name]
  path = tmp_path / 'file'
  path.write_bytes(content())
  with pytest.raises(UserError) as error:
    word_vectors.read(path)
  assert str(error.value).startswith(str(path)) and message in str(error.value)
  assert len(str(error.value)) < len(str(path)) + 150


@pytest.mark.parametrize('name', FILES)
def test_every_truncation_is_noticed(name, tmp_path):
  """Except in text without a header, whose last line may simply be the last."""
  content = (GOLDEN / name).read_bytes()
  path = tmp_path / 'file'
  for size in np.random.default_rng(0).integers(1, len(content) - 12, 40):
    path.write_bytes(content[:size])
    if name == 'glove.txt' and (size < 400 or content[size - 1 : size + 1].isdigit()
                                or b'\n' in content[size - 1 : size + 1]):
      continue
    with pytest.raises(UserError):
      word_vectors.read(path)


def test_missing_files_and_files_without_subwords(tmp_path):
  with pytest.raises(UserError, match='cannot be read: No such file or directory'):
    word_vectors.read(tmp_path / 'none')
  with pytest.raises(UserError, match=r'only a fastText \.bin file has subwords'):
    word_vectors.read_subwords(GOLDEN / 'glove.txt')
  assert word_vectors.has_subwords(GOLDEN / OLD)
  assert not word_vectors.has_subwords(GOLDEN / 'word2vec.bin')


def test_written_files_are_read_back_bit_for_bit(tmp_path):
  """Words with blanks and bytes that are not UTF-8, and extreme float32; with gzip, too."""
  words = ['the', 'at name@domain.com', 'k\udcecter', '北京', '#']
  vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
  vectors[0] = 1e-45, 3.4028235e38, -0.0
  path = tmp_path / 'vectors.txt'
  word_vectors.write(path, words, vectors)
  (tmp_path / 'vectors.vec.gz').write_bytes(gzip.compress(path.read_bytes()))
  for file in (path, tmp_path / 'vectors.vec.gz'):
    read = word_vectors.read(file)
    assert read[0] == words
    np.testing.assert_array_equal(read[1].view(np.int32), vectors.view(np.int32))


def test_lines_may_have_other_ends(tmp_path):
  """A byte order mark, CRLF, a blank at the end of each line, and empty lines at the end."""
  words, vectors = word_vectors.read(GOLDEN / 'word2vec.txt')
  content = (GOLDEN / 'word2vec.txt').read_bytes().replace(b'\n', b' \r\n')
  (tmp_path / 'windows.txt').write_bytes(b'\xef\xbb\xbf' + content + b'\r\n')
  read = word_vectors.read(tmp_path / 'windows.txt')
  assert read[0] == words
  np.testing.assert_array_equal(read[1], vectors)


def test_a_binary_file_may_have_line_ends_after_records(tmp_path):
  """word2vec.c writes them, gensim does not."""
  words, vectors = word_vectors.read(GOLDEN / 'word2vec.bin')
  records = [word.encode() + b' ' + row.tobytes() for word, row in zip(words, vectors, strict=True)]
  (tmp_path / 'lines.bin').write_bytes(b'20 10\n' + b''.join(r + b'\n' for r in records))
  read = word_vectors.read(tmp_path / 'lines.bin')
  assert read[0] == words
  np.testing.assert_array_equal(read[1], vectors)
