"""An n-gram model of bytes: interpolated Kneser-Ney with modified discounts.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", Harvard
TR-10-98. With c for a context of k - 1 symbols, and c' for c without its first symbol:

  p_k(w | c) = (a(c w) - D(a(c w))) / a(c •) + gamma(c) p_{k-1}(w | c')      p_0 = 1 / 256
  gamma(c) = the sum over w of D(a(c w)), divided by a(c •)

a(c w) counts occurrences for the longest n-grams and for those that begin with BOS, which nothing
precedes; for all others it counts the different symbols that precede c w (Kneser and Ney 1995). The
discounts follow from n_i, the number of k-grams with a = i:

  Y = n_1 / (n_1 + 2 n_2)    D(i) = i - (i + 1) Y n_{i+1} / n_i  for i = 1, 2    D(i >= 3) = D(3)

BOS is a symbol of contexts and is never predicted.
"""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from posjax.data.tokenizer import BOS, TEXT, encode

BYTES = 256
# For orders whose n_i allow no discounts in (0, i], such as short texts; KenLM's values.
FALLBACK = (0.5, 1.0, 1.5)


class Table(NamedTuple):
  """The k-grams of a text, numbered by their keys.

  keys      int64 [M], ascending: TEXT * (number of the last k - 1 symbols) + first symbol
  contexts  int32 [M], the number of the first k - 1 symbols
  counts    int64 [M], how often the last symbol follows the others; 0 for BOS
  """

  keys: np.ndarray
  contexts: np.ndarray
  counts: np.ndarray


class Level(NamedTuple):
  """The probabilities p_k.

  keys           int64 [M], the keys of a `Table`
  probabilities  float64 [M], p_k of the last symbol after the others
  backoffs       float64, gamma by the number of the context, a (k - 1)-gram
  """

  keys: np.ndarray
  probabilities: np.ndarray
  backoffs: np.ndarray

  def find(self, numbers: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """Returns the numbers of the k-grams `symbols` + the (k - 1)-grams `numbers`; -1 if unseen."""
    wanted = TEXT * numbers + symbols  # negative, and so unseen, if the (k - 1)-gram is unseen
    at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
    return np.where(self.keys[at] == wanted, at, -1)


@dataclasses.dataclass(frozen=True)
class Ngram:
  """An n-gram model; `levels` holds p_1, …, p_n."""

  levels: tuple[Level, ...]

  def log_probabilities(self, tokens: np.ndarray) -> np.ndarray:
    """Returns log p of each token after the first, in nats, from at most n - 1 tokens before it.

    Contexts end at the start of a row, and after a BOS. The value at a target that is BOS has no
    meaning, but it is finite.

    Args:
      tokens: integers [N, length + 1], bytes and BOS.

    Returns:
      float64 [N, length].
    """
    numbers = np.zeros(tokens.shape, np.int64)  # of the k-gram that ends at each token
    p = np.full(tokens[:, 1:].shape, 1 / BYTES)
    # In a row, the first k tokens end no (k + 1)-gram.
    for k, level in enumerate(self.levels[: tokens.shape[1]]):
      contexts, numbers = numbers, np.full(tokens.shape, -1)
      numbers[:, k:] = level.find(contexts[:, k:], tokens[:, : tokens.shape[1] - k])
      seen, context = numbers[:, 1:], contexts[:, :-1]
      below = np.where(context < 0, p, level.backoffs[context] * p)
      p = np.where(seen < 0, below, level.probabilities[seen])
    return np.log(p)


def fit(documents: Iterable[bytes], order: int) -> Ngram:
  """Returns the n-gram model of the documents, with n = `order`.

  n is smaller if no document, with its BOS, has `order` symbols.
  """
  tables = tabulate(np.concatenate([encode(text) for text in documents]), order)
  levels, lower = [], np.full(1, 1 / BYTES)
  for table, longer in itertools.zip_longest(tables, tables[1:]):
    levels.append(smooth(table, longer, lower))
    lower = levels[-1].probabilities
  return Ngram(tuple(levels))


def tabulate(tokens: np.ndarray, order: int) -> list[Table]:
  """Returns a table for each k = 1, …, `order`, as long as there are k-grams.

  Args:
    tokens: integers [T], documents that each begin with BOS. A k-gram lies in one document.
    order: the largest k.
  """
  tables, ends = [], np.arange(len(tokens))  # where k-grams end
  numbers = np.zeros(len(tokens), np.int32)  # of the (k - 1)-gram that ends at each token
  while len(tables) < order and ends.size:
    first = tokens[ends - len(tables)]
    keys, found = np.unique(TEXT * numbers[ends].astype(np.int64) + first, return_inverse=True)
    contexts = np.empty(len(keys), np.int32)
    contexts[found] = numbers[ends - 1]
    counts = np.bincount(found, tokens[ends] != BOS).astype(np.int64)
    tables.append(Table(keys, contexts, counts))
    numbers[ends] = found
    ends = ends[first != BOS]
  return tables


def smooth(table: Table, longer: Table | None, lower: np.ndarray) -> Level:
  """Returns p_k.

  Args:
    table: the k-grams.
    longer: the (k + 1)-grams; None if k is the order.
    lower: p_{k-1} of all (k - 1)-grams.
  """
  counts = table.counts
  if longer is not None:
    preceding = np.bincount(longer.keys // TEXT, minlength=len(counts))
    counts = np.where(table.keys % TEXT == BOS, counts, preceding)
  discounts = np.array([0, *discounts_of(counts)])[np.minimum(counts, 3)]
  total, freed = (np.bincount(table.contexts, x, len(lower)) for x in (counts, discounts))
  # Nothing follows a context that only ends documents.
  backoffs = np.divide(freed, total, out=np.ones(len(lower)), where=total > 0)
  own = (counts - discounts) / total[table.contexts]
  shared = backoffs[table.contexts] * lower[table.keys // TEXT]
  return Level(table.keys, own + shared, backoffs)


def discounts_of(counts: np.ndarray) -> tuple[float, float, float]:
  """Returns D(1), D(2), D(3) for the counts a of all k-grams."""
  n1, n2, n3, n4 = np.bincount(counts, minlength=5)[1:5].tolist()
  if not (n1 and n2 and n3):
    return FALLBACK
  y = n1 / (n1 + 2 * n2)
  discounts = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
  return discounts if min(discounts) > 0 else FALLBACK
