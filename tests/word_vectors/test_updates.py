"""Losses, gradients and updates of word vectors equal their equations in NumPy loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.word_vectors import cbow, fasttext, glove, negative_sampling, skipgram, subwords
from posjax.word_vectors import vocabulary as vocabulary_lib

STORY = [line.split() for line in (
  'the king saw the old queen', 'the old king was walking', 'a queen saw a castle',
  'the castle was old', 'walking and walked and walks', 'the king and the queen walked',
)]
DIM, RATE = 7, 0.3


def sigma(x):
  return 1 / (1 + np.exp(-x))


def loops(inputs, outputs, batch):
  """Returns the loss and the two gradients, one prediction after the other."""
  value, d_inputs, d_outputs = 0.0, np.zeros_like(inputs), np.zeros_like(outputs)
  for rows, target, negatives in zip(*map(np.asarray, batch), strict=True):
    rows = [row for row in rows if row >= 0]
    v = sum(inputs[row] for row in rows) / len(rows)
    terms = [(target, 1)] + [(word, 0) for word in negatives if word != target]
    dv = np.zeros(DIM)
    for word, label in terms:
      probability = sigma(outputs[word] @ v)
      value -= np.log(probability if label else 1 - probability)
      dv += (probability - label) * outputs[word]
      d_outputs[word] += (probability - label) * v
    for row in rows:
      d_inputs[row] += dv / len(rows)
  return value, d_inputs, d_outputs


def problem(method, text):
  """Returns random tables and the first batch of a method, with a draw that equals its target."""
  buckets = {'buckets': 50} if method is fasttext else {}
  _, batch = next(method.batches(text, window=3, epochs=1, seed=1, size=9, **buckets))
  batch.negatives[4, 2] = batch.targets[4]
  rng = np.random.default_rng(0)
  words = len(text.words)
  tables = [rng.normal(size=(count, DIM)) for count in (words + 50, words)]
  return batch, *tables


@pytest.fixture
def text(monkeypatch):
  monkeypatch.setattr(negative_sampling, 'SUBSAMPLING', 1.0)  # keeps every token
  return vocabulary_lib.build(STORY, min_count=1)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('method', [skipgram, cbow, fasttext])
def test_negative_sampling_equals_loops(method, dtype, text):
  """float32 sums differ from float64 by rounding only; a padded batch has bags of several sizes."""
  tolerance = {'float32': dict(rtol=1e-6, atol=1e-6), 'float64': dict(rtol=1e-12, atol=1e-12)}
  batch, inputs, outputs = problem(method, text)
  inputs, outputs = (table.astype(dtype).astype('float64') for table in (inputs, outputs))
  sizes = np.sum(batch.inputs >= 0, axis=1)
  assert (len(set(sizes)) > 1) == (method is not skipgram)
  value, d_inputs, d_outputs = loops(inputs, outputs, batch)
  # The update moves each input row by the gradient of the mean: one bag at a time, times its size.
  moved = sum(
    size * loops(inputs, outputs, [part[i : i + 1] for part in batch])[1]
    for i, size in enumerate(sizes)
  )
  with jax.enable_x64(dtype == 'float64'):
    params = {
      'input_RD': jnp.asarray(inputs, dtype), 'output_VD': jnp.asarray(outputs, dtype)
    }
    found, gradient = jax.value_and_grad(method.loss)(params, batch)
    updated, before = method.update(params, batch, RATE)
  np.testing.assert_allclose(found, value, rtol=tolerance[dtype]['rtol'])
  np.testing.assert_allclose(before, value, rtol=tolerance[dtype]['rtol'])
  np.testing.assert_allclose(gradient['input_RD'], d_inputs, **tolerance[dtype])
  np.testing.assert_allclose(gradient['output_VD'], d_outputs, **tolerance[dtype])
  np.testing.assert_allclose(updated['input_RD'], inputs - RATE * moved, **tolerance[dtype])
  np.testing.assert_allclose(updated['output_VD'], outputs - RATE * d_outputs, **tolerance[dtype])


def test_skipgram_predicts_the_context_and_cbow_the_center(text):
  """A radius belongs to the center word, so that pairs show which of the two it is."""
  ids, contexts = vocabulary_lib.windows(text, 3, 1.0, np.random.default_rng(5))
  pairs = [(center, word) for center, row in zip(ids, contexts, strict=True)
           for word in row if word >= 0]
  assert sorted(pairs) != sorted((word, center) for center, word in pairs)
  inputs, targets = skipgram.examples(text, 3, np.random.default_rng(5))
  assert sorted(zip(inputs[:, 0], targets, strict=True)) == sorted(pairs)
  inputs, targets = cbow.examples(text, 3, np.random.default_rng(5))
  bags = [(center, sorted(row[row >= 0])) for center, row in zip(ids, contexts, strict=True)]
  found = [(center, sorted(row[row >= 0])) for center, row in zip(targets, inputs, strict=True)]
  assert found == [bag for bag in bags if bag[1]]


def test_fasttext_replaces_the_center_by_its_subwords(text):
  """A batch of fastText is one of skip-gram whose inputs are a word and its hashed n-grams."""
  _, plain = next(skipgram.batches(text, window=3, epochs=1, seed=2, size=9))
  _, batch = next(fasttext.batches(text, window=3, epochs=1, seed=2, size=9, buckets=50))
  np.testing.assert_array_equal(batch.targets, plain.targets)
  for center, rows in zip(plain.inputs[:, 0], batch.inputs, strict=True):
    word = text.words[center]
    ngrams = {f'<{word}>'[i : i + n] for n in range(3, 7) for i in range(len(word) + 3 - n)}
    expected = [len(text.words) + subwords.fnv1a(ngram.encode()) % 50 for ngram in ngrams]
    assert sorted(rows[rows >= 0]) == sorted([center, *expected])


TWENTY = [str(word) for word in range(20)]


def cooccurrence_loops(documents, words, window):
  counts = {}
  for document in documents:
    for i, word in enumerate(document):
      for j, other in enumerate(document):
        if 0 < abs(i - j) <= window:
          pair = words.index(word), words.index(other)
          counts[pair] = counts.get(pair, 0) + 1 / abs(i - j)
  return counts


def test_glove_equals_loops():
  """Counts, loss, gradients and two steps of AdaGrad on 20 words, some counts above the maximum."""
  rng = np.random.default_rng(3)
  weights = np.arange(20, 0, -1.0) ** 2
  documents = [list(rng.choice(TWENTY, 800, p=weights / weights.sum())) for _ in range(3)]
  text = vocabulary_lib.build(documents, min_count=1)
  entries = glove.cooccurrences(text, window=4)
  counts = cooccurrence_loops(documents, text.words, 4)
  found = dict(zip(zip(entries.rows, entries.columns, strict=True), entries.counts, strict=True))
  assert len(text.words) == 20 and found.keys() == counts.keys()
  assert max(counts.values()) > glove.COUNT_MAX > min(counts.values())
  for pair, count in counts.items():
    assert found[pair] == pytest.approx(count, rel=1e-12)

  shapes = {'w_VD': (20, DIM), 'c_VD': (20, DIM), 'b_V': (20,), 'd_V': (20,)}
  tables = {name: rng.normal(size=shape) for name, shape in shapes.items()}
  squares = {name: np.ones(shape) for name, shape in shapes.items()}
  with jax.enable_x64(True):
    params = {name: jnp.asarray(table) for name, table in tables.items()}
    opt_state = glove.optimizer(RATE).init(params)
    for _ in range(2):
      value, gradient = glove_loops(tables, counts)
      result = jax.value_and_grad(glove.loss)(params, entries)
      params, opt_state, before = glove.update(params, opt_state, entries, RATE)
      np.testing.assert_allclose([result[0], before], value, rtol=1e-12)
      for name, slope in gradient.items():
        np.testing.assert_allclose(result[1][name], slope, rtol=1e-11, atol=1e-11)
        squares[name] += slope**2
        tables[name] -= RATE * slope / np.sqrt(squares[name] + 1e-7)
        np.testing.assert_allclose(params[name], tables[name], rtol=1e-11, atol=1e-11)


def glove_loops(tables, counts):
  """Returns the loss and its gradients, one pair of words after the other."""
  w, c, b, d = tables.values()
  value, gradient = 0.0, {name: np.zeros_like(table) for name, table in tables.items()}
  for (i, j), count in counts.items():
    weight = (count / 100) ** 0.75 if count < 100 else 1.0
    error = w[i] @ c[j] + b[i] + d[j] - np.log(count)
    value += weight * error**2
    gradient['w_VD'][i] += 2 * weight * error * c[j]
    gradient['c_VD'][j] += 2 * weight * error * w[i]
    gradient['b_V'][i] += 2 * weight * error
    gradient['d_V'][j] += 2 * weight * error
  return value, gradient
