"""Held-out text: drawn evenly over documents, with its own context, equal in every run."""

import hashlib

import numpy as np
import pytest

from posjax import data
from posjax.data.corpus import SPLITS, Corpus, Documents
from posjax.errors import UserError


def corpus_of(documents, test=None):
  """Returns a corpus in which every split is `documents`, or the test split is `test`."""
  parts = dict.fromkeys(SPLITS, documents) | ({'test': test} if test else {})
  return Corpus('memory', len(documents), 0, '', SPLITS, parts)


def random_texts(*sizes):
  """Returns texts in which a few consecutive bytes identify the text and their position in it."""
  return [hashlib.shake_128(b'%d' % i).digest(size) for i, size in enumerate(sizes)]


def found_in(texts, array):
  """Returns (index of the text, start) of the excerpt in an array of tokens."""
  excerpt = bytes(array[1:].astype(np.uint8))
  [index] = [index for index, text in enumerate(texts) if excerpt in text]
  start = texts[index].index(excerpt)
  assert array.dtype == np.int32
  assert array[0] == (texts[index][start - 1] if start else data.BOS)  # the token before
  return index, start


def even_shares(sizes, tokens, excerpt):
  """Returns the bytes per document: all documents up to a common level."""
  whole = [size // excerpt * excerpt for size in sizes]
  level = max(
    level for level in range(0, tokens + 1, excerpt)
    if sum(min(size, level) for size in whole) <= tokens
  )
  return [min(size, level) for size in whole]


@pytest.mark.parametrize('tokens', [320, 1280, 1600, 3840, 9999])
def test_documents_contribute_equal_shares_while_they_have_text(tokens):
  sizes = (64, 130, 5000, 400, 64, 2000, 70, 1000, 128)
  texts = random_texts(*sizes)
  shares = [0] * len(texts)
  for array in data.excerpts(corpus_of(texts), 'test', tokens=tokens, excerpt=64):
    index, _ = found_in(texts, array)
    assert not shares[index]  # a document contributes one contiguous text
    shares[index] = len(array) - 1
  least = even_shares(sizes, tokens, 64)
  assert sum(shares) == min(tokens, sum(size // 64 * 64 for size in sizes))
  for share, low, size in zip(shares, least, sizes, strict=True):
    assert share in {low, min(low + 64, size // 64 * 64)}


def test_excerpts_are_uniform_over_many_documents():
  texts, read = random_texts(*[200] * 500), []
  documents = Documents(range(500), lambda index: read.append(index) or texts[index])
  arrays = data.excerpts(corpus_of(documents), 'validation', tokens=100 * 32, excerpt=32)
  places = [found_in(texts, array) for array in arrays]
  assert [len(array) for array in arrays] == [33] * 100
  assert [index for index, _ in places] == read  # no other document is read
  assert len({*read}) == 100 and read != sorted(read)
  # Uniform over 500 documents and over 169 starts: within four standard errors.
  assert abs(np.mean(read) - 249.5) < 4 * 500 / np.sqrt(12 * 100)
  starts = [start for _, start in places]
  assert abs(np.mean(starts) - 84) < 4 * 169 / np.sqrt(12 * 100)
  assert abs(np.std(starts) - 169 / np.sqrt(12)) < 10


def test_an_excerpt_may_begin_at_each_position_of_a_document():
  starts = set()
  texts = random_texts(*[12] * 200)
  for array in data.excerpts(corpus_of(texts), 'test', tokens=200 * 8, excerpt=8):
    starts.add(found_in(texts, array)[1])
  assert starts == {0, 1, 2, 3, 4}


def test_short_documents_are_joined_with_bos_before_each():
  texts = random_texts(20, 3, 100, 1, 31, 32)
  *alone, joined = data.excerpts(corpus_of([b'', *texts]), 'test', tokens=999, excerpt=32)
  assert sorted(found_in(texts, array)[0] for array in alone) == [2, 5]
  assert joined.dtype == np.int32
  pieces = np.split(joined, np.flatnonzero(joined == data.BOS)[1:])
  assert sorted(map(data.decode, pieces)) == sorted(texts[i] for i in (0, 1, 3, 4))
  assert len(joined) == 4 + sum(len(texts[i]) for i in (0, 1, 3, 4))


@pytest.mark.parametrize('tokens', [1, 5, 40, 55])
def test_excerpts_have_the_requested_number_of_tokens(tokens):
  for sizes in ((3,) * 20, (100,), (60, 2), (2, 60)):
    texts = random_texts(*sizes)
    arrays = data.excerpts(corpus_of(texts), 'test', tokens=tokens, excerpt=64)
    drawn = sum(np.count_nonzero(array[1:] != data.BOS) for array in arrays)
    assert drawn == min(tokens, sum(sizes))


def test_each_run_draws_the_same_text_of_its_split():
  texts, other = random_texts(*range(1, 400)), [b'other' * 99]
  arguments = dict(tokens=2000, excerpt=50)
  arrays = data.excerpts(corpus_of(texts, test=other), 'validation', **arguments)
  again = data.excerpts(corpus_of(texts), 'test', **arguments)
  for one, two in zip(arrays, again, strict=True):
    np.testing.assert_array_equal(one, two)
  # Numbers in README depend on this draw, so change both together.
  sha = hashlib.sha256(np.concatenate(arrays).astype('<i4').tobytes()).hexdigest()
  assert sha[:16] == '7066476c5cac25ad'
  [array] = data.excerpts(corpus_of(texts, test=other), 'test', **arguments)
  assert found_in(other, array) is not None


def test_a_split_without_text():
  with pytest.raises(UserError, match="memory has no text in its split 'test'"):
    data.excerpts(corpus_of([b'']), 'test', tokens=10, excerpt=1)
  with pytest.raises(UserError, match="train, validation, test, not 'tset'"):
    data.excerpts(corpus_of([b'a']), 'tset', tokens=10, excerpt=1)
