"""The n-gram model equals loops over dicts and numbers by hand; its probabilities sum to 1."""

import argparse
import collections
import math
import pathlib
import textwrap

import numpy as np
import pytest

from posjax.data import BOS, encode
from posjax.models import ngram

ALPHABET = b'abcdefghijklmnop'


def documents(seed=0, sizes=(400, 250, 3, 1, 0)):
  """Returns random texts; the frequencies of letters and pairs are far from uniform."""
  rng = np.random.default_rng(seed)
  draw = lambda size: rng.geometric(0.25, size) % 7 + rng.integers(0, 2, size).cumsum() % 5
  return [bytes(ALPHABET[i] for i in draw(size)) for size in sizes]


class Loops:
  """The model of the docstring of models/ngram.py, with one dict entry for each n-gram."""

  def __init__(self, documents, order):
    raw = collections.Counter()
    for text in documents:
      symbols = (BOS, *text)
      for end in range(2, len(symbols) + 1):
        raw.update(symbols[end - k : end] for k in range(1, min(order, end) + 1))
    preceding = collections.defaultdict(set)
    for gram in raw:
      preceding[gram[1:]].add(gram[0])
    self.order = order
    self.counts = {
      gram: count if len(gram) == order or gram[0] == BOS else len(preceding[gram])
      for gram, count in raw.items()
    }
    self.discounts = {k: self.discounts_of(k) for k in range(1, order + 1)}
    self.following = collections.defaultdict(dict)
    for gram, count in self.counts.items():
      self.following[gram[:-1]][gram[-1]] = count

  def discounts_of(self, k):
    n = collections.Counter(count for gram, count in self.counts.items() if len(gram) == k)
    if not (n[1] and n[2] and n[3]):
      return ngram.FALLBACK
    y = n[1] / (n[1] + 2 * n[2])
    found = tuple(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))
    return found if min(found) > 0 else ngram.FALLBACK

  def probability(self, context, symbol):
    """Returns p of a byte after a tuple of symbols that is not longer than n - 1."""
    lower = self.probability(context[1:], symbol) if context else 1 / 256
    following = self.following[context]
    if not following:
      return lower
    discount = lambda count: self.discounts[len(context) + 1][min(count, 3) - 1]
    freed, own = sum(map(discount, following.values())), 0
    if symbol in following:
      own = following[symbol] - discount(following[symbol])
    return (own + freed * lower) / sum(following.values())

  def log_probabilities(self, row):
    """Returns log p of each target of a row; None where it is BOS."""
    found = []
    for end in range(1, len(row)):
      context = tuple(row[max(0, end - self.order + 1) : end])
      while BOS in context[1:]:
        context = context[1:]
      p = None if row[end] == BOS else math.log(self.probability(context, row[end]))
      found.append(p)
    return found


@pytest.mark.parametrize('order', [1, 2, 3, 5, 8])
def test_probabilities_equal_those_of_loops(order):
  """Rows are windows of seen text, of joined documents, of other text and of unknown bytes."""
  texts = documents()
  model, loops = ngram.fit(texts, order), Loops(texts, order)
  others = documents(1, (60,))[0] + bytes(range(0, 256, 5)) + documents(2, (40,))[0]
  stream = np.concatenate([*map(encode, texts), encode(others), encode(texts[1][7:50])])
  rows = np.stack([stream[start : start + 24] for start in range(0, len(stream) - 24, 11)])
  found = model.log_probabilities(rows)
  expected = np.array([loops.log_probabilities(row.tolist()) for row in rows], float)
  scored = rows[:, 1:] != BOS
  assert np.count_nonzero(~scored) > 3 and np.isnan(expected[~scored]).all()
  np.testing.assert_allclose(found[scored], expected[scored], rtol=0, atol=1e-12)
  assert np.isfinite(found).all()  # with weight 0, -inf would give NaN


def test_loops_have_both_kinds_of_discounts():
  """So that the comparison covers both."""
  found = Loops(documents(), 5).discounts.values()
  assert 1 < len({*found}) and ngram.FALLBACK in found


@pytest.mark.parametrize('order', [1, 3, 6])
@pytest.mark.parametrize('context', [
  [BOS], [BOS, *b'ab'], [*documents()[0][50:60]], [*documents()[0][-9:]], [*b'zzz'],
  [*b'zzz', *documents()[0][50:52]], [*b'abc', BOS], [*b'abc', BOS, *documents()[0][:2]],
  [0], [ALPHABET[3]], [*b'p'],
], ids=str)
def test_probabilities_of_all_bytes_sum_to_1(context, order):
  rows = np.array([[*context, byte] for byte in range(256)])
  p = np.exp(ngram.fit(documents(), order).log_probabilities(rows)[:, -1])
  assert p.min() > 0
  assert abs(math.fsum(p) - 1) < 1e-12


def test_order_1_by_hand():
  """15 bytes: n_1 = 4, n_2 = 2, n_3 = 1, n_4 = 1, so Y = 4 / 8 and D = 1/2, 5/4, 1.

  gamma = (4 * 1/2 + 2 * 5/4 + 1 + 1) / 15 = 6.5 / 15.
  """
  assert ngram.discounts_of(np.array([1, 1, 1, 1, 2, 2, 3, 4])) == (0.5, 1.25, 1.0)
  found = ngram.fit([b'abcdeeffggghhhh'], 1).log_probabilities(np.array([[BOS, *b'aeghz']]))
  own = np.array([1 - 0.5, 2 - 1.25, 3 - 1, 4 - 1, 0]) / 15
  np.testing.assert_allclose(np.exp(found[0]), own + 6.5 / 15 / 256, rtol=1e-14)


def test_order_2_by_hand():
  """Of 'abac', BOS and b precede a, only a precedes b and c; D are the fallback 1/2, 1, 3/2.

  gamma is (1 + 1/2 + 1/2) / 4 = 1/2 without context, and 1/2 after a and after BOS.
  """
  model = ngram.fit([b'abac'], 2)
  p_a, p_b, p_z = 1 / 4 + 0.5 / 256, 1 / 8 + 0.5 / 256, 0.5 / 256
  expected = {
    (BOS, b'a'): 0.5 + 0.5 * p_a, (b'a', b'b'): 0.25 + 0.5 * p_b, (b'a', b'z'): 0.5 * p_z,
    (b'c', b'a'): p_a,  # c only ends the text
    (b'z', b'a'): p_a, (b'z', b'z'): p_z,
  }
  for (context, symbol), p in expected.items():
    context = context if context == BOS else ord(context)
    found = model.log_probabilities(np.array([[context, ord(symbol)]])).item()
    assert math.exp(found) == pytest.approx(p, rel=1e-14)


def test_unusable_counts_of_counts_give_the_fallback():
  """n_1 = 1, n_2 = 1 and n_3 = 10 would give D(2) = 2 - 3 * 1/3 * 10 = -8."""
  assert ngram.discounts_of(np.array([1, 2, *[3] * 10])) == ngram.FALLBACK
  assert ngram.discounts_of(np.array([1, 1, 3])) == ngram.FALLBACK


def test_held_out_perplexity_falls_with_the_order():
  train, held_out = (pathlib.Path(module.__file__).read_bytes() for module in (argparse, textwrap))
  rows = encode(held_out)[None]
  nats = [-ngram.fit([train], n).log_probabilities(rows).mean() for n in (1, 2, 3, 4)]
  assert nats[0] < math.log(256) and np.diff(nats).max() < -0.1


def test_an_order_beyond_the_longest_document_is_that_of_the_document():
  texts, rows = [b'ab', b'b'], np.array([[BOS, *b'abab']])
  long, enough = (ngram.fit(texts, order) for order in (8, 3))
  assert len(long.levels) == 3
  np.testing.assert_array_equal(long.log_probabilities(rows), enough.log_probabilities(rows))


def test_a_row_of_two_tokens_is_scored_with_one_byte_of_context():
  texts = documents()
  text = np.frombuffer(texts[0], np.uint8)
  pairs = np.stack([text[:-1], text[1:]], axis=1)
  found = ngram.fit(texts, 6).log_probabilities(pairs)[:, 0]
  loops = Loops(texts, 6)
  expected = [math.log(loops.probability((a,), b)) for a, b in pairs.tolist()]
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
