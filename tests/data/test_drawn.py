"""Examples drawn at random: the order of documents, new draws in each epoch, and exact resume."""

import collections
import itertools
import json

import jax
import numpy as np
import pytest

from posjax.batch import Example
from posjax.data import pipeline
from posjax.data.chunks import Chunks
from posjax.data.corpus import Documents

SIZE = 8  # tokens of a chunk


@pytest.fixture(scope='module')
def documents():
  rng = np.random.default_rng(0)
  texts = [rng.integers(256, size=size, dtype=np.uint8) for size in rng.integers(0, 60, size=200)]
  texts[0] = texts[0][:0]  # a document without a chunk
  return Documents(texts, lambda text: Chunks(text, SIZE))


def plain(ids):
  return Example(ids, ids, np.ones(len(ids), bool))


def draw(ids, rng):
  return plain(ids)._replace(targets=rng.integers(2**31, size=len(ids), dtype=np.int32))


def batches(documents, draw, length=2 * SIZE, batch=4, seed=3):
  drawn = pipeline.Drawn(documents, draw)
  return pipeline.batches(
    drawn, name='drawn', length=length, answers=length, batch=batch, seed=seed
  )


def test_a_draw_that_draws_nothing_gives_the_batches_of_plain_examples(documents):
  examples = Documents(documents, lambda chunks: [plain(chunks[i]) for i in range(len(chunks))])
  want = pipeline.batches(
    examples, name='plain', length=2 * SIZE, answers=2 * SIZE, batch=4, seed=3
  )
  got = batches(documents, lambda ids, rng: plain(ids))
  for _ in range(100):
    jax.tree.map(np.testing.assert_array_equal, next(got), next(want))


def test_each_epoch_and_each_seed_has_other_draws(documents):
  full = Documents(
    documents, lambda chunks: [chunks[i] for i in range(len(chunks.ids) // SIZE)]
  )
  size = sum(map(len, full))

  def epoch(run):
    """Returns (chunk, its draw) for each example of an epoch, one per row."""
    rows = itertools.islice(run, size)
    return [(tuple(b.stream.x[0].tolist()), tuple(b.targets[0].tolist())) for b in rows]

  run, other = (batches(full, draw, length=SIZE, batch=1, seed=seed) for seed in (3, 4))
  epochs = [epoch(run), epoch(run), epoch(other)]
  chunks = [collections.Counter(x for x, _ in own) for own in epochs]
  assert chunks[0] == chunks[1] == chunks[2] and chunks[0].total() == size > 500
  assert len({drawn for own in epochs for _, drawn in own}) == 3 * size


def test_resume_repeats_the_draws(documents):
  run, states, want = batches(documents, draw), [], []
  for _ in range(60):
    states.append(json.dumps(run.get_state()))
    want.append(next(run))
  for step in (0, 1, 17, 45, 59):
    resumed = batches(documents, draw)
    resumed.set_state(json.loads(states[step]))
    for batch in want[step:]:
      jax.tree.map(np.testing.assert_array_equal, next(resumed), batch)
