"""Held-out text: tokens, preceded by the token before them, or by BOS."""

import random

import numpy as np

from posjax.data.corpus import Corpus
from posjax.data.tokenized import documents, piece
from posjax.data.tokenizer import BYTES, Tokenizer
from posjax.errors import UserError

HELD_OUT_SEED = 0  # not the seed of the run: all runs are scored on the same text


def excerpts(
  corpus: Corpus, split: str, *, tokens: int, excerpt: int, tokenizer: Tokenizer = BYTES
) -> list[np.ndarray]:
  """Returns held-out text, drawn evenly over the documents of a split, the same in every run.

  Documents are visited in rounds, in a random order. In each round a document contributes `excerpt`
  tokens, or all its tokens if it has fewer, until the total is `tokens`. A document continues where
  it stopped in the previous round. It thus contributes one contiguous text from a random offset,
  and all documents that are long enough contribute the same length, to within one excerpt.

  Args:
    corpus: the corpus.
    split: the name of the split.
    tokens: the most tokens to draw, over all documents.
    excerpt: tokens to draw from a document per round.
    tokenizer: of the text.

  Returns:
    Arrays of tokens, int32 [1 + tokens]. The first of each is the preceding token, or BOS at the
    start of a document; all others are targets. The last array joins the documents shorter
    than `excerpt`, each after its BOS, which is not a target.

  Raises:
    UserError: the split has no text, or does not exist.
  """
  found, rng = documents(corpus, split, tokenizer), random.Random(HELD_OUT_SEED)
  texts, wanted, excerpt = [], tokens, min(excerpt, tokens)
  for index in sorted(range(len(found)), key=lambda _: rng.random()):
    if len(text := found[index]):
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
      long.append(piece(text, start, share, tokenizer.bos))
    else:
      short.append(piece(text, 0, share, tokenizer.bos))
  return long + [np.concatenate(short)] if short else long


def _shares(sizes: list[int], tokens: int, excerpt: int) -> list[int]:
  """Returns the tokens that documents of these sizes contribute, `tokens` in total at most."""
  shares, waiting = [0] * len(sizes), [*range(len(sizes))]
  while waiting and tokens:
    for i in waiting:
      given = min(sizes[i], excerpt, tokens)
      shares[i] += given
      tokens -= given
    waiting = [i for i in waiting if sizes[i] - shares[i] >= excerpt]
  return shares
