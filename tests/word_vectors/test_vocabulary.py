"""Vocabulary, subsampling, noise and windows against loops; what the four methods learn."""

import collections

import numpy as np
import pytest

from posjax import word_vectors
from posjax.errors import UserError
from posjax.word_vectors import cbow, fasttext, glove, negative_sampling, skipgram, vocabulary

DOCUMENTS = [line.split() for line in (
  'b a a b c', 'c a b a d', 'a', 'e a b c', 'a c b a a b a',
)]


def test_tokens_are_lower_cased_words():
  text = 'Ça va? The "Bi-gram" x_1\n北京 2013'.encode() + b' \xff'
  assert vocabulary.tokens(text) == ['ça', 'va', 'the', 'bi', 'gram', 'x_1', '北京', '2013']


def test_the_vocabulary_has_the_frequent_words():
  text = vocabulary.build(DOCUMENTS, min_count=2)
  counts = collections.Counter(word for document in DOCUMENTS for word in document)
  assert text.words == ['a', 'b', 'c']
  assert text.counts.tolist() == [counts[word] for word in 'abc'] == [10, 6, 4]
  tokens = [(n, word) for n, document in enumerate(DOCUMENTS) for word in document if word in 'abc']
  words = [text.words[i] for i in text.ids]
  assert list(zip(text.documents.tolist(), words, strict=True)) == tokens


@pytest.mark.parametrize(
  ('documents', 'message'),
  [
    (DOCUMENTS, '1 of 5 words occur 9 times or more; lower min_count, or use more text'),
    ([['a'], ['b']] * 9, 'no document has two words of the vocabulary, so no word has a context'),
  ],
)
def test_texts_without_contexts_are_refused(documents, message):
  with pytest.raises(UserError) as error:
    vocabulary.build(documents, min_count=9)
  assert str(error.value) == message


def test_subsampling_and_noise_follow_their_equations():
  """Frequencies of a million draws are within 5 standard deviations of the probabilities."""
  counts = np.array([700, 200, 90, 9, 1])
  keep = [min(1, (0.01 / f) ** 0.5 + 0.01 / f) for f in counts / 1000]
  np.testing.assert_allclose(vocabulary.keep_probability(counts, 0.01), keep, rtol=1e-12)
  weights = [count**0.75 for count in counts.tolist()]
  expected = np.array(weights) / sum(weights)
  cumulative = vocabulary.noise(counts)
  np.testing.assert_allclose(np.diff(cumulative, prepend=0), expected, rtol=1e-9)
  drawn = vocabulary.draw(cumulative, (10**6,), np.random.default_rng(0))
  found = np.bincount(drawn, minlength=5) / 10**6
  assert np.all(abs(found - expected) < 5 * np.sqrt(expected / 10**6))
  text = vocabulary.Text([*'abcde'], counts, np.repeat(np.arange(5), counts * 20), np.zeros(20_000))
  kept, _ = vocabulary.windows(text, 1, 0.01, np.random.default_rng(0))
  found = np.bincount(kept, minlength=5) / (20 * counts)
  assert np.all(abs(found - keep) < 5 * np.sqrt(np.array(keep) / (20 * counts)))


def test_windows_equal_loops():
  """A context ends at its radius, at its document, and skips tokens that were not kept."""
  text = vocabulary.build(DOCUMENTS * 5, min_count=1)
  ids, contexts = vocabulary.windows(text, 3, 0.05, np.random.default_rng(4))
  rng = np.random.default_rng(4)
  kept = rng.random(len(text.ids)) < vocabulary.keep_probability(text.counts, 0.05)[text.ids]
  radius = rng.integers(1, 4, kept.sum())
  tokens = [token for token, keep in zip(
    zip(text.documents, text.ids, strict=True), kept, strict=True) if keep]
  assert 0.5 < kept.mean() < 0.95 and set(radius) == {1, 2, 3}
  np.testing.assert_array_equal(ids, [word for _, word in tokens])
  for i, (document, _) in enumerate(tokens):
    expected = [
      tokens[j][1] for j in range(len(tokens))
      if j != i and abs(i - j) <= radius[i] and tokens[j][0] == document
    ]
    assert sorted(contexts[i][contexts[i] >= 0]) == sorted(expected)


def test_each_epoch_has_each_example():
  """Batches have one size: some examples of an epoch fill its last batch."""
  draw = lambda rng: (np.arange(10)[:, None], np.arange(10))
  found = list(negative_sampling.batches(draw, np.ones(10), epochs=2, size=4, seed=0))
  assert [done for done, _ in found] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
  for epoch in (found[:3], found[3:]):
    targets = np.concatenate([batch.targets for _, batch in epoch])
    assert set(targets[:10]) == set(range(10)) and len(targets) == 12
  assert [*found[0][1].targets] != [*found[3][1].targets]


STEMS = ('walk', 'jump', 'climb', 'laugh', 'paint', 'travel', 'follow', 'answer')
ENDINGS = ('ed', 'ing', 'er')


def planted(seed=0):
  """Returns documents in which cat and dog, and red and blue, have the same contexts.

  Forms of each verb share a context; `walking` and others of STEMS[0:4] never occur.
  """
  rng = np.random.default_rng(seed)
  documents = []
  for _ in range(1500):
    stem = rng.choice(STEMS)
    ending = rng.choice(ENDINGS[:1] if stem in STEMS[:4] else ENDINGS)
    documents += [
      ['the', rng.choice(['cat', 'dog']), 'eats', rng.choice(['meat', 'fish']), 'often'],
      ['a', rng.choice(['red', 'blue']), 'car', 'drives', rng.choice(['past', 'away'])],
      [f'{stem}1', stem + rng.choice(['', ending]), f'{stem}2', f'{stem}3'],
    ]
  return documents


TEXT = vocabulary.build(planted(), min_count=1)
SETTINGS = dict(dim=16, window=4, epochs=4, seed=3, learning_rate=0.1)


@pytest.fixture(scope='module')
def trained():
  """Returns {method: vectors} of the planted text, and fastText's subwords."""
  subwords = fasttext.train(TEXT, **SETTINGS, buckets=5000)
  vectors = {
    'skipgram': skipgram.train(TEXT, **SETTINGS),
    'cbow': cbow.train(TEXT, **SETTINGS),
    'fasttext': subwords.vectors(),
    'glove': glove.train(TEXT, **{**SETTINGS, 'epochs': 1000}),  # an epoch is one batch
  }
  return vectors, subwords


@pytest.mark.parametrize('method', ['skipgram', 'cbow', 'fasttext'])
def test_words_with_equal_contexts_are_nearest(method, trained):
  vectors = trained[0][method]
  for word, other in (('cat', 'dog'), ('dog', 'cat'), ('red', 'blue'), ('blue', 'red')):
    vector = vectors[TEXT.words.index(word)]
    [(found, cosine)] = word_vectors.nearest(TEXT.words, vectors, vector, 1, skip=word)
    assert (found, cosine > 0.5) == (other, True)


def test_glove_fits_the_counts_and_pairs_words_with_equal_contexts(trained):
  """Words that occur together, such as `the` and `cat`, are also near, so only four compete."""
  four = ['cat', 'dog', 'red', 'blue']
  vectors = trained[0]['glove'][[TEXT.words.index(word) for word in four]]
  for word, other in (('cat', 'dog'), ('dog', 'cat'), ('red', 'blue'), ('blue', 'red')):
    near = word_vectors.nearest(four, vectors, vectors[four.index(word)], 2, skip=word)
    assert near[0][0] == other and near[0][1] > near[1][1] + 0.2
  losses = []
  report = lambda done, loss: losses.append(loss)
  glove.train(TEXT, **{**SETTINGS, 'epochs': 901}, report=report)
  assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] / 1000


def test_an_unknown_inflection_is_nearer_to_its_stem_than_to_other_words(trained):
  """walking, jumping, ... never occur; their n-grams <wal, walk, ing>, ... do."""
  _, subwords = trained
  for stem in STEMS[:4]:
    unknown = f'{stem}ing'
    assert unknown not in subwords.words
    cosines = word_vectors.cosines(subwords.vectors(), subwords.vector(unknown))
    of = dict(zip(subwords.words, cosines, strict=True))
    family = [word for word in of if word.startswith(stem)]
    assert of[stem] > 0.5 > np.median(cosines)
    assert of[stem] > max(cosine for word, cosine in of.items() if word not in family)


def test_training_is_reproducible(trained):
  settings = {**SETTINGS, 'epochs': 1}
  first, second = (cbow.train(TEXT, **settings) for _ in range(2))
  other = cbow.train(TEXT, **{**settings, 'seed': 4})
  np.testing.assert_array_equal(first, second)
  assert np.abs(first - other).max() > 0.01


def test_reports_say_how_far_training_is():
  """The loss of a prediction falls from (1 + K) ln 2, which output rows of zero give."""
  reports = []
  report = lambda done, loss: reports.append((done, loss))
  skipgram.train(TEXT, **{**SETTINGS, 'epochs': 10}, report=report)
  done, losses = zip(*reports, strict=True)
  assert done[0] == 0 and list(done) == sorted(done) and 0.5 < done[-1] < 1
  assert losses[0] == pytest.approx(6 * np.log(2), rel=0.1)  # less the draws that do not count
  assert losses[-1] < 0.8 * losses[0]
