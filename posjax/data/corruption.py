"""Corruptions of a text for pre-training, in NumPy: covered tokens, and spans replaced by MASK.

cover          BERT: Devlin et al. 2018, arXiv 1810.04805, section 3.1 and its code
span_counts, span_lengths
               T5: Raffel et al. 2020, arXiv 1910.10683, section 3.1.4 and its code
fill_lengths   BART's text infilling: Lewis et al. 2019, arXiv 1910.13461, section 2.2
"""

import functools

import numpy as np

from posjax.data.tokenizer import Tokenizer


def cover(
  rng: np.random.Generator, ids: np.ndarray, units: np.ndarray, *, share: float,
  tokenizer: Tokenizer,
) -> tuple[np.ndarray, np.ndarray]:
  """Covers a share of the units of a text, at least one unit.

  Of the covered tokens, 80 % become MASK, 10 % a random token, and 10 % stay as they are, so that
  the model must represent each token that it reads.

  Args:
    rng: draws the units and the replacements.
    ids: a text, int32 [n].
    units: the unit of each token, [n], counted from 0: tokens of one unit are covered together.
    share: the share of units to cover.
    tokenizer: of the text.

  Returns:
    The corrupted text, int32 [n], and which tokens are covered, bool [n].
  """
  count = units[-1] + 1
  covered = (rng.permutation(count) < max(1, round(share * count)))[units]
  draw = rng.random(len(ids))
  corrupted = np.where(covered & (draw < 0.8), np.int32(tokenizer.mask), ids)
  random = rng.integers(tokenizer.size, size=len(ids), dtype=np.int32)
  return np.where(covered & (draw >= 0.9), random, corrupted), covered


def word_units(ids: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
  """Returns the unit of each token, [n]: a word, or a token that continues no word.

  A word is a run of letters and digits; all bytes of UTF-8 beyond ASCII count as letters. A token
  continues a word if its first byte and the last byte of the token before it are of a word.
  """
  starts, ends = _word_edges(tokenizer)
  return np.concatenate([[0], np.cumsum(~(ends[ids[:-1]] & starts[ids[1:]]))])


@functools.lru_cache(maxsize=4)
def _word_edges(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
  """Returns for each id of its own whether its first, and its last byte are of a word."""
  texts = [tokenizer.decode(np.array([i], np.int32)) for i in range(tokenizer.size)]
  of_word = lambda part: part >= b'\x80' or part.isalnum()
  starts, ends = zip(*((of_word(text[:1]), of_word(text[-1:])) for text in texts), strict=True)
  return np.array(starts), np.array(ends)


def span_counts(size: int, *, density: float = 0.15, mean: float = 3.0) -> tuple[int, int]:
  """Returns the numbers of T5's noise tokens and of their spans in a text of `size` tokens.

  They are round(size * density) and round(noise tokens / mean), each at least 1; at least one
  token of a text of two or more is kept.
  """
  noise = min(max(round(size * density), 1), max(size - 1, 1))
  return noise, max(round(noise / mean), 1)


def span_lengths(rng: np.random.Generator, size: int, **shares: float) -> np.ndarray:
  """Returns the lengths of T5's noise spans, each at least 1, in a text of `size` tokens.

  `span_counts` gives their sum and their number; all such lengths are equally likely.
  """
  noise, spans = span_counts(size, **shares)
  cuts = 1 + np.sort(rng.choice(noise - 1, size=spans - 1, replace=False))
  return np.diff([0, *cuts, noise])


def fill_lengths(
  rng: np.random.Generator, size: int, *, share: float = 0.3, mean: float = 3.0
) -> np.ndarray:
  """Returns the lengths of BART's spans in a text of `size` tokens; a length of 0 inserts a MASK.

  Lengths are Poisson-distributed; the last one is chosen so that they cover round(size * share)
  tokens, at least 1. There are at most as many spans as covered tokens: the corrupted text is not
  longer.
  """
  budget = max(round(size * share), 1)
  total = np.minimum(np.cumsum(rng.poisson(mean, size=budget)), budget)
  total[-1] = budget
  return np.diff(total[: np.argmax(total == budget) + 1], prepend=0)


def place(
  rng: np.random.Generator, lengths: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Places spans in a text of `size` tokens so that no two of them touch.

  All such placements are equally likely. (In T5's code, the last span always ends the text.)

  Returns:
    The first token of each span, in order, [spans], and which tokens are in a span, bool [size].
  """
  kept = size - lengths.sum()
  gaps = np.sort(rng.choice(kept + 1, size=len(lengths), replace=False))  # between kept tokens
  starts = gaps + np.cumsum(lengths) - lengths
  inside = np.zeros(size, bool)
  inside[np.repeat(gaps, lengths) + np.arange(lengths.sum())] = True
  return starts, inside


def replace_spans(
  ids: np.ndarray, starts: np.ndarray, inside: np.ndarray, mask: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the text with one MASK for each span, and the spans, each after a MASK.

  The k-th MASK of the one stands for the tokens after the k-th MASK of the other.
  """
  marked = np.insert(ids, starts, mask)
  return marked[~np.insert(inside, starts, False)], marked[np.insert(inside, starts, True)]
