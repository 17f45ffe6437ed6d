"""From documents to batches, by Grain, without worker processes.

documents -> a new order every epoch -> this host's share -> windows of whole documents -> repeat
-> pieces of at most `length` targets, shuffled within their window -> rows -> batches

A window is counted in documents, not in pieces, so that it ends where the epoch ends: no byte is
seen twice before each has been seen once, however small the corpus, and a small corpus is not
read hundreds of times to fill the first window.
"""

import functools
import importlib.metadata
import random
from collections.abc import Iterator

import numpy as np

from posjax.data.corpus import Corpus
from posjax.data.tokenizer import encode
from posjax.errors import UserError

VERSION = 1  # of the order of batches: raise it with every change that moves a token

# Documents. On Python's library, in batches of 16 rows of 64, 32 / 128 / 512 documents give rows
# from 9.0 / 12.7 / 14.6 different documents, and a first batch after 0.02 / 0.06 / 0.3 s.
WINDOW = 128

HELD_OUT_SEED = 0  # not the run's: all runs are scored by the same text


def batches(
  corpus: Corpus, *, length: int, batch: int, seed: int, shard: tuple[int, int] = (0, 1)
) -> Iterator[dict[str, np.ndarray]]:
  """This host's training batches, without end.

  Args:
    corpus: its training documents are used.
    length: tokens in a row.
    batch: rows in a batch of this host.
    seed: of every order, 0 to 2**32 - 1.
    shard: (index of this host, number of hosts).

  Returns:
    A grain.DatasetIterator (get_state and set_state continue to the bit) over dicts of int32
    [batch, length]: inputs and targets (0 where a row is empty), segment_ids (0, 1, … for the
    pieces in a row, -1 where it is empty), positions (0, 1, … within a piece).

  Raises:
    UserError: there are fewer documents than hosts.
  """
  import grain

  documents = corpus.documents('train')
  host, hosts = shard
  if len(documents) < hosts:
    raise UserError(
      f'{corpus.name} has {len(documents)} documents to train on, too few for {hosts} hosts; '
      'cut it into more files'
    )

  class Flatten(grain.experimental.FlatMapTransform):
    def flat_map(self, pieces: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
      return pieces

  windows = (
    grain.MapDataset.source(documents)
    .seed(seed)
    .shuffle()[host::hosts]
    .batch(WINDOW, batch_fn=list)
    .random_map(functools.partial(_cut, length=length))
    .repeat()
    .to_iter_dataset(grain.ReadOptions(num_threads=0))
  )
  pieces = grain.experimental.FlatMapIterDataset(windows, Flatten())
  rows = grain.experimental.FirstFitPackIterDataset(
    pieces.map(functools.partial(_tokens, length=length)),
    length_struct={'inputs': length, 'targets': length},
    meta_features=['targets'],  # they lie where the inputs lie, and need no positions of their own
    num_packing_bins=batch,
    shuffle_bins=False,
  )
  return iter(rows.batch(batch, drop_remainder=True).map(_rename))


def _cut(
  documents: list[bytes], rng: np.random.Generator, *, length: int
) -> list[tuple[bytes, int]]:
  """All pieces in random order, each as its document and where in it the targets begin.

  Tokens are made when a piece is packed: those of a huge document would take four times its memory.
  """
  pieces = [(text, start) for text in documents for start in range(0, len(text), length)]
  return [pieces[index] for index in rng.permutation(len(pieces))]


def _tokens(piece: tuple[bytes, int], *, length: int) -> dict[str, np.ndarray]:
  """Inputs and targets of a piece, int32 [1 … length].

  The first input is the last target of the piece before, or BOS: every byte is a target exactly
  once, and BOS never is.
  """
  tokens = _piece(*piece, length)
  return {'inputs': tokens[:-1], 'targets': tokens[1:]}


def _piece(text: bytes, start: int, length: int) -> np.ndarray:
  """`length` bytes of a document from `start` on, after the byte before them, or BOS."""
  tokens = encode(text[start : start + length])
  if start:
    tokens[0] = text[start - 1]
  return tokens


def _rename(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {
    'inputs': rows['inputs'],
    'targets': rows['targets'],
    'segment_ids': rows['inputs_segment_ids'] - 1,  # Grain's count from 1, and 0 is empty
    'positions': rows['inputs_positions'],
  }


def fingerprint(
  corpus: Corpus, *, length: int, batch: int, seed: int, shard: tuple[int, int] = (0, 1)
) -> dict[str, str | int]:
  """All that decides the order of batches, by name: a run may only continue its own."""
  index, hosts = shard
  return {
    'pipeline': VERSION,
    'window': WINDOW,
    'grain': importlib.metadata.version('grain'),
    'numpy': np.__version__,
    'sha256': corpus.sha256,
    'split': corpus.splits[0],
    'length': length,
    'batch': batch,
    'seed': seed,
    'host': index,
    'hosts': hosts,
  }


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
      long.append(_piece(text, start, share))
    else:
      short.append(encode(text[:share]))
  return long + [np.concatenate(short)] if short else long


def _shares(sizes: list[int], tokens: int, excerpt: int) -> list[int]:
  """How many bytes documents of these sizes give in turn, `tokens` together at most."""
  shares, waiting = [0] * len(sizes), range(len(sizes))
  while waiting and tokens:
    for i in waiting:
      given = min(sizes[i], excerpt, tokens)
      shares[i] += given
      tokens -= given
    waiting = [i for i in waiting if sizes[i] - shares[i] >= excerpt]
  return shares
