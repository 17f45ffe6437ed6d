"""Corruption against loops: shares within binomial bounds, and texts that can be restored."""

import collections
import dataclasses
import itertools
import math
import re

import numpy as np
import pytest

from posjax.data import corruption
from posjax.data.tokenizer import BYTES

TEXT = 'Pi is 3.14159; caf\u00e9_au_lait = "na\u00efve" (not 2nd-rate)\n\tend'.encode()


def near(count: int, trials: int, share: float) -> bool:
  """Whether a binomial count is within five standard deviations of its mean."""
  return abs(count - trials * share) < 5 * math.sqrt(trials * share * (1 - share))


# Covered tokens.


def test_covered_tokens_are_replaced_in_these_shares():
  ids, draws = np.full(200, 7, np.int32), 500
  rng, found, places = np.random.default_rng(0), collections.Counter(), np.zeros(200)
  for _ in range(draws):
    x, covered = corruption.cover(rng, ids, np.arange(200), share=0.15, tokenizer=BYTES)
    assert x.dtype == np.int32 and covered.sum() == 30
    assert (x[~covered] == 7).all()
    found.update(x[covered].tolist())
    places += covered
  trials = draws * 30
  assert near(found.pop(BYTES.mask), trials, 0.8)
  assert near(found.pop(7), trials, 0.1 + 0.1 / 256)
  assert {*found} <= {*range(256)} and len(found) > 240
  assert all(near(count, draws, 0.15) for count in places)


@pytest.mark.parametrize(('size', 'share', 'count'), [(1, 0.15, 1), (3, 0.15, 1), (20, 0.5, 10)])
def test_at_least_one_token_is_covered(size, share, count):
  _, covered = corruption.cover(
    np.random.default_rng(0), np.zeros(size, np.int32), np.arange(size), share=share,
    tokenizer=BYTES,
  )
  assert covered.sum() == count


def test_words_are_covered_as_a_whole():
  ids = BYTES.encode(TEXT)
  words = [m.span() for m in re.finditer(rb'[0-9A-Za-z\x80-\xff]+|.', TEXT, re.DOTALL)]
  want = np.concatenate([np.full(end - start, i) for i, (start, end) in enumerate(words)])
  units = corruption.word_units(ids, BYTES)
  np.testing.assert_array_equal(units, want)
  rng = np.random.default_rng(0)
  for _ in range(20):
    _, covered = corruption.cover(rng, ids, units, share=0.3, tokenizer=BYTES)
    chosen = [covered[start:end] for start, end in words]
    assert all(word.all() or not word.any() for word in chosen)
    assert sum(word.any() for word in chosen) == round(0.3 * len(words))


def test_pieces_of_a_word_are_one_unit():
  texts = [b'th', b'e', b' c', b'at', b's.', b'e.g', b'!?', b'']
  tokenizer = dataclasses.replace(
    BYTES, size=len(texts), decode=lambda ids: b''.join(texts[i] for i in ids)
  )
  # th|e, " c"|at|"s.", e.g|e, !?, "", "", th
  ids = np.array([0, 1, 2, 3, 4, 5, 1, 6, 7, 7, 0])
  want = [0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6]
  assert corruption.word_units(ids, tokenizer).tolist() == want


# Spans.


def test_the_numbers_of_noise_tokens_and_spans_are_those_of_t5():
  # The published code turns 568 tokens into 512 inputs and 114 targets, EOS included.
  noise, spans = corruption.span_counts(568)
  assert (568 - noise + spans + 1, noise + spans + 1) == (512, 114)
  for size, density, mean in itertools.product(range(1, 300), (0.15, 0.5), (1, 3, 8.5)):
    noise, spans = corruption.span_counts(size, density=density, mean=mean)
    assert abs(noise - density * size) <= 0.5 or noise == 1
    assert abs(spans - noise / mean) <= 0.5 or spans == 1
    assert spans <= noise <= max(size - 1, 1)
    lengths = corruption.span_lengths(
      np.random.default_rng(size), size, density=density, mean=mean
    )
    assert (len(lengths), lengths.sum()) == (spans, noise) and lengths.min() >= 1


def test_all_lengths_of_noise_spans_are_equally_likely():
  rng = np.random.default_rng(0)
  found = collections.Counter(
    tuple(corruption.span_lengths(rng, 12, density=0.5, mean=2).tolist()) for _ in range(3000)
  )
  want = [three for three in itertools.product(range(1, 7), repeat=3) if sum(three) == 6]
  assert {*found} == {*want}
  assert all(near(count, 3000, 1 / len(want)) for count in found.values())


def test_spans_to_fill_are_poisson_distributed():
  rng, draws = np.random.default_rng(0), 2000
  lengths = [corruption.fill_lengths(rng, 200) for _ in range(draws)]
  assert all(own.sum() == 60 for own in lengths)
  first = collections.Counter(int(own[0]) for own in lengths)
  for k in range(8):
    assert near(first[k], draws, math.exp(-3) * 3**k / math.factorial(k))
  for size in [*range(1, 40)] * 20:
    own = corruption.fill_lengths(rng, size)
    assert len(own) <= own.sum() == max(1, round(0.3 * size)) and own[-1] > 0


def placements(lengths, size):
  """Returns the starts of all placements in which a kept token separates any two spans."""
  found = []
  for starts in itertools.product(range(size + 1), repeat=len(lengths)):
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    apart = all(start > end for end, start in zip(ends, starts[1:], strict=False))
    if ends[-1] <= size and apart:
      found.append(starts)
  return found


def test_all_placements_without_touching_spans_are_equally_likely():
  lengths, size, draws = np.array([2, 0, 1]), 8, 4000
  rng, found = np.random.default_rng(0), collections.Counter()
  for _ in range(draws):
    starts, inside = corruption.place(rng, lengths, size)
    want = np.zeros(size, bool)
    for start, length in zip(starts, lengths, strict=True):
      want[start : start + length] = True
    np.testing.assert_array_equal(inside, want)
    found[tuple(starts.tolist())] += 1
  want = placements(lengths, size)
  assert {*found} == {*want} and len(want) == 20
  assert all(near(count, draws, 1 / len(want)) for count in found.values())


def test_spans_are_replaced_as_in_a_loop():
  rng, mask = np.random.default_rng(0), BYTES.mask
  for size in [*range(1, 12), 100]:
    ids = rng.integers(256, size=size, dtype=np.int32)
    for draw in (corruption.span_lengths, corruption.fill_lengths):
      lengths = draw(rng, size)
      starts, inside = corruption.place(rng, lengths, size)
      source, spans, at = [], [], 0
      for start, length in zip(starts, lengths, strict=True):
        source += [*ids[at:start], mask]
        spans += [mask, *ids[start : start + length]]
        at = start + length
      source += [*ids[at:]]
      got = corruption.replace_spans(ids, starts, inside, mask)
      assert (got[0].tolist(), got[1].tolist()) == (source, spans)
      assert len(source) <= size
