"""Held-out text, and pieces of text: tokens after the byte before them, or BOS."""

import random

import numpy as np

from posjax.data.corpus import Corpus
from posjax.data.tokenizer import encode
from posjax.errors import UserError

HELD_OUT_SEED = 0  # not the run's: all runs are scored by the same text


def piece(text: bytes, start: int, length: int) -> np.ndarray:
  """`length` bytes of a document from `start` on, after the byte before them, or BOS."""
  tokens = encode(text[start : start + length])
  if start:
    tokens[0] = text[start - 1]
  return tokens


def excerpts(corpus: Corpus, split: str, *, tokens: int, excerpt: int) -> list[np.ndarray]:
  """Held-out text, drawn evenly over the documents of a split, the same in every run.

  Documents are taken in a random order. Each gives `excerpt` bytes in turn, or all it has if that
  is less, until `tokens` bytes are given; a document whose turn comes again goes on where it
  stopped. So a document gives one contiguous text, from a random place on, and all that are long
  enough give as much, to within one excerpt.

  Args:
    corpus: where the split is.
    split: its name.
    tokens: bytes to draw at most, over all documents.
    excerpt: bytes to draw from a document at a time.

  Returns:
    Arrays of tokens, int32 [1 + bytes]. In each the first token is the byte before, or BOS where
    the document begins: all others are targets. Documents shorter than `excerpt` are joined in the
    last array, each after its BOS, which is no target.

  Raises:
    UserError: the split has no text, or there is no such split.
  """
  documents, rng = corpus.documents(split), random.Random(HELD_OUT_SEED)
  texts, wanted, excerpt = [], tokens, min(excerpt, tokens)
  for index in sorted(range(len(documents)), key=lambda _: rng.random()):
    if text := documents[index]:
      texts.append(text)
      wanted -= min(len(text), excerpt)
      if wanted <= 0:
        break
  if not texts:
    raise UserError(f'{corpus.name} has no text in its split {split!r}')
  long, short = [], []
  for text, share in zip(texts, _shares([*map(len, texts)], tokens, excerpt), strict=True):
    if share >= excerpt:
      start = int(rng.random() * (len(text) - share + 1))
      long.append(piece(text, start, share))
    else:
      short.append(encode(text[:share]))
  return long + [np.concatenate(short)] if short else long


def _shares(sizes: list[int], tokens: int, excerpt: int) -> list[int]:
  """How many bytes documents of these sizes give in turn, `tokens` together at most."""
  shares, waiting = [0] * len(sizes), [*range(len(sizes))]
  while waiting and tokens:
    for i in waiting:
      given = min(sizes[i], excerpt, tokens)
      shares[i] += given
      tokens -= given
    waiting = [i for i in waiting if sizes[i] - shares[i] >= excerpt]
  return shares
