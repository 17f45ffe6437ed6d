"""From documents to batches with Grain, without worker processes.

documents -> a new order every epoch -> windows of complete documents -> repeat
-> their examples, shuffled within their window, and drawn if they are random -> rows -> batches

A window is counted in documents, not in examples, so that it ends at the end of the epoch: no
example is seen twice before every example is seen once, even in a small corpus. A small corpus is
not read hundreds of times to fill the first window. Every host makes the same batches.
"""

import dataclasses
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from posjax.batch import Batch, Example, Indexed, Stream

VERSION = 1  # version of the order of batches: increment with every change that moves a token

# Documents. On Python's library, in batches of 16 rows of 64, 32 / 128 / 512 documents give rows
# from 9.0 / 12.7 / 14.6 different documents, and a first batch after 0.02 / 0.06 / 0.3 s.
WINDOW = 128


@dataclasses.dataclass(frozen=True)
class Drawn:
  """Documents whose examples are random: the same text is masked differently in each epoch.

  Attributes:
    documents: each a sequence of parts, such as pieces of a text.
    draw: returns an example, given a part and a random generator.
  """

  documents: Indexed[Indexed[Any]]
  draw: Callable[[Any, np.random.Generator], Example]


def batches(
  documents: Indexed[Indexed[Example]] | Drawn, *, name: str, length: int, answers: int, batch: int,
  seed: int,
) -> Iterator[Batch]:
  """Returns an infinite iterator over training batches.

  Args:
    documents: each a sequence of examples, which are created when indexed; or `Drawn`.
    name: the name of the documents, for messages.
    length: tokens per row.
    answers: the most targets per row. The source of an example, for an encoder, has at most
      `length` tokens; the sources of the examples in a row are packed like the examples.
    batch: rows in a batch.
    seed: the seed of all shuffling and drawing, 0 to 2**32 - 1.

  Returns:
    A grain.DatasetIterator over `Batch` of numpy arrays; get_state and set_state resume exactly, to
    the bit. Padding is 0, and -1 in segment_ids. The examples in a row are its segments 0, 1, …;
    positions restart at 0 in each example, unless the examples have positions.
  """
  import grain

  parts, draw = (
    (documents.documents, documents.draw) if isinstance(documents, Drawn) else (documents, None)
  )
  examples = _shuffled_parts(parts, seed)
  first = next(parts[i][0] for i in range(len(parts)) if len(parts[i]))
  if draw:
    examples = examples.random_map(draw)
    first = draw(first, np.random.default_rng(0))
  room = {'x': length, 'targets': answers, 'weights': answers}
  room |= {key: length for key in ('pos', 'source') if getattr(first, key) is not None}
  rows = grain.experimental.FirstFitPackIterDataset(
    examples.map(_features),
    length_struct=room,
    # Aligned with x: they need no positions.
    meta_features=[key for key in room if key not in ('x', 'source')],
    num_packing_bins=batch,
    shuffle_bins=False,
  )
  return iter(rows.batch(batch, drop_remainder=True).map(_batch))


def _shuffled_parts(documents: Indexed[Indexed[Any]], seed: int) -> Any:
  """Returns a grain.IterDataset over the parts of all documents, shuffled and repeated."""
  import grain

  class Flatten(grain.experimental.FlatMapTransform):
    def flat_map(self, pieces: list) -> list:
      return pieces

  windows = (
    grain.MapDataset.source(documents)
    .seed(seed)
    .shuffle()[:]  # Grain derives the seeds of later steps from their depth, this slice included
    .batch(WINDOW, batch_fn=list)
    .random_map(_shuffled)
    .repeat()
    .to_iter_dataset(grain.ReadOptions(num_threads=0))
  )
  return grain.experimental.FlatMapIterDataset(windows, Flatten()).map(_read)


def _shuffled(
  documents: list[Indexed[Example]], rng: np.random.Generator
) -> list[tuple[Indexed[Example], int]]:
  """Returns all examples in random order, each as its document and its index in the document.

  Examples are created when packed: those of a huge document would take four times its memory.
  """
  pieces = [(document, i) for document in documents for i in range(len(document))]
  return [pieces[index] for index in rng.permutation(len(pieces))]


def _read(piece: tuple[Indexed[Any], int]) -> Any:
  document, index = piece
  return document[index]


def _features(example: Example) -> dict[str, np.ndarray]:
  return {k: v for k, v in example._asdict().items() if v is not None}


def _batch(rows: dict[str, np.ndarray]) -> Batch:
  pos = rows.get('pos', rows['x_positions'][..., None])
  source = None
  if 'source' in rows:
    source = packed(rows, 'source', rows['source_positions'][..., None])
  return Batch(packed(rows, 'x', pos), rows['targets'], rows['weights'], source)


def packed(rows: dict[str, np.ndarray], key: str, pos: np.ndarray) -> Stream:
  return Stream(rows[key], pos, rows[f'{key}_segment_ids'] - 1)  # Grain counts from 1; 0: padding


def fingerprint(
  *, sha256: str, split: str, length: int, batch: int, seed: int
) -> dict[str, str | int]:
  """Returns all settings that fix the order of batches; a run resumes only if they are equal."""
  return {
    'pipeline': VERSION,
    'window': WINDOW,
    'grain': importlib.metadata.version('grain'),
    'numpy': np.__version__,
    'sha256': sha256,
    'split': split,
    'length': length,
    'batch': batch,
    'seed': seed,
  }
