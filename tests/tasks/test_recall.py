"""Key-value retrieval, MQAR, induction, associative recall, selective copy: rules and guesses."""

import itertools
import re
from collections import Counter

import jax
import numpy as np
import pytest

from posjax import tasks
from posjax.errors import UserError
from posjax.tasks.associative_recall import AssociativeRecall
from posjax.tasks.core.generated import Generated
from posjax.tasks.induction import Induction
from posjax.tasks.key_value import KeyValue
from posjax.tasks.mqar import Mqar
from posjax.tasks.selective_copy import SelectiveCopy

SAMPLES = 1000


def samples(make, length, count=SAMPLES):
  """Yields (tokens, {place: label}) of rows as lists of Python integers."""
  for seed in range(count):
    example = make(np.random.default_rng(seed), length)
    assert len(example.x) == len(example.targets) == len(example.weights) <= length
    labels = {int(i): int(example.targets[i]) for i in np.flatnonzero(example.weights)}
    yield example.x.tolist(), labels


def assert_share(hits, of, probability, deviations=4):
  """Asserts that a share of independent events agrees with their probability."""
  error = np.sqrt(probability * (1 - probability) / of)
  assert abs(hits / of - probability) <= deviations * error


def rows(make, length, count):
  return Generated(lambda rng: make(rng, length), 'test', count).rows(length, length)


def most_frequent(tokens, symbols):
  counts = Counter(token for token in tokens if token in symbols)
  return [token for token, count in counts.items() if count == max(counts.values())]


# The base.


def test_exact_match_and_last_accuracy_of_a_row():
  task = KeyValue()
  batch = rows(task.mqar, 32, 4)
  outputs = np.eye(task.vocabulary)[batch.targets]
  asked = [np.flatnonzero(weights) for weights in batch.weights]
  for row, place in ((1, asked[1][0]), (2, asked[2][-1]), (3, 0)):  # a label, the last one, none
    outputs[row, place] = np.roll(outputs[row, place], 1)
  found = jax.jit(task.metrics)(outputs, batch)
  mean = lambda name: float(np.average(found[name][0], weights=found[name][1]))
  assert mean('token accuracy') == pytest.approx(14 / 16)
  assert mean('exact match') == pytest.approx(2 / 4)
  assert mean('last accuracy') == pytest.approx(3 / 4)


def test_floors_are_the_expected_scores_of_the_guess():
  found = Mqar(pairs=3).floors(rows(Mqar(pairs=3).make, 32, 4))
  assert found == pytest.approx({
    'token accuracy': 1 / 3, 'exact match': 1 / 27, 'last accuracy': 1 / 3
  })


@pytest.mark.parametrize('task', [
  AssociativeRecall(), Induction(), KeyValue(), Mqar(), SelectiveCopy()
], ids=lambda task: type(task).__name__)
def test_the_generator_determines_the_rows(task):
  first, again = (rows(task.make, 40, 256) for _ in range(2))
  for a, b in ((first.stream.x, again.stream.x), (first.targets, again.targets)):
    np.testing.assert_array_equal(a, b)
  assert len(np.unique(first.stream.x, axis=0)) > 250


@pytest.mark.parametrize(('name', 'arguments', 'length', 'message'), [
  ('key_value', {}, 23, 'train.length = 23: must be at least 24'),
  ('key_value', dict(present=9), 64, 'task.key_value.present = 9: must be in [2, 8], up to nkeys'),
  ('key_value', dict(nvalues=1), 64, 'task.key_value.nvalues = 1: must be at least 2'),
  ('mqar', {}, 15, 'train.length = 15: must be at least 16'),
  ('mqar', dict(symbols=9), 64, 'task.mqar.symbols = 9: must be at least 10 for 4 pairs'),
  ('mqar', dict(spacing=3), 64, 'task.mqar.spacing = 3: must be in [4, 64], the training length'),
  ('induction', dict(copied=8), 17, 'train.length = 17: must be at least 18'),
  ('selective_copy', {}, 33, 'train.length = 33: must be at least 34'),
  ('selective_copy', dict(symbols=3), 64, 'task.selective_copy.symbols = 3: must be at least 4'),
  ('associative_recall', dict(symbols=5), 64,
   'task.associative_recall.symbols = 5: must be at least 6'),
  ('associative_recall', dict(rows=0), 64, 'task.associative_recall.rows = 0: must be positive'),
])
def test_invalid_arguments_are_refused(name, arguments, length, message):
  with pytest.raises(UserError, match=re.escape(message)):
    tasks.build(name, length, **{name: arguments})


# Key-value retrieval.


def test_a_value_is_asked_where_its_key_was_shown_before():
  task, lengths = KeyValue(), Counter()
  for tokens, labels in samples(task.stream, 32):
    value_of = {}
    for place in range(0, 31, 2):
      key, value = tokens[place], (tokens + [labels.get(30)])[place + 1]
      assert 1 <= key <= 8 and (value is None or 9 <= value <= 16)
      assert (place in labels) == (key in value_of)
      assert labels.get(place, value) == value_of.setdefault(key, value) == value
    lengths[len(value_of)] += 1
  assert {*lengths} <= {1, 2, 3, 4}
  assert_share(lengths[4], SAMPLES, (1 - sum(
    (-1) ** (k + 1) * {1: 4, 2: 6, 3: 4}[k] * ((4 - k) / 4) ** 16 for k in (1, 2, 3))) / 3)


@pytest.mark.parametrize(('test', 'first'), [('mqar', 8), ('far', 48)])
def test_each_key_of_the_list_is_asked_once(test, first):
  task, places = KeyValue(), Counter()
  for tokens, labels in samples(getattr(task, test), 64):
    pairs = dict(zip(tokens[:8:2], tokens[1:8:2], strict=True))
    assert len(pairs) == 4 and {*pairs} <= {*range(1, 9)}
    assert {*pairs.values()} <= {*range(9, 17)}
    assert {tokens[place]: value for place, value in labels.items()} == pairs
    fillers = {*range(8, 63)} - {*labels} - {place + 1 for place in labels}
    assert not any(tokens[place] for place in fillers)
    assert all(tokens[place + 1] == value for place, value in labels.items() if place < 62)
    places.update(labels.keys())
  assert {*places} == {*range(first, 64, 2)}
  for count in places.values():
    assert_share(count, SAMPLES, 4 / len(places), deviations=5)


def test_half_of_the_training_rows_are_streams():
  streams = sum(0 not in tokens for tokens, _ in samples(KeyValue().make, 32))
  assert_share(streams, SAMPLES, 0.5)


def test_the_guess_without_keys_has_the_accuracy_of_the_likeliest_value_in_the_list():
  counts = {
    size: [[*Counter(values).values()] for values in itertools.product(range(8), repeat=size)]
    for size in range(1, 5)
  }
  likeliest = [np.mean([max(own) / size for own in counts[size]]) for size in counts]
  assert (want := likeliest[-1]) == pytest.approx(0.41, abs=0.005)
  assert np.mean([np.square(own).sum() / 16 for own in counts[4]]) == pytest.approx(0.34, abs=0.005)
  assert np.mean(likeliest) == pytest.approx(0.61, abs=0.005)  # of 4, 3, 2, 1 values left
  batch = rows(KeyValue().mqar, 32, SAMPLES)
  found = KeyValue().guess(batch)
  right = found[batch.weights]
  assert abs(right.mean() - want) < 4 * np.std(right) / np.sqrt(SAMPLES)
  for row in range(50):
    best = most_frequent(batch.stream.x[row, :8].tolist(), range(9, 17))
    for place in np.flatnonzero(batch.weights[row]):
      assert found[row, place] == pytest.approx((batch.targets[row, place] in best) / len(best))


# MQAR.


def test_mqar_follows_the_rule_of_zoology():
  task = Mqar(pairs=4, symbols=32)
  for tokens, labels in samples(task.make, 64):
    keys, values = tokens[:8:2], tokens[1:8:2]
    pairs = dict(zip(keys, values, strict=True))
    assert len({*keys}) == len({*values}) == 4
    assert {*keys} <= {*range(1, 16)} and {*values} <= {*range(16, 32)}
    assert {tokens[place]: value for place, value in labels.items()} == pairs
    assert all(place >= 8 and place % 2 == 0 for place in labels)
    assert all(tokens[place] == 0 for place in range(8, 64) if place not in labels)


def test_places_of_queries_follow_the_power_law():
  places = Counter()
  for _, labels in samples(Mqar(pairs=1).make, 64, count=3000):
    places[(min(labels) - 2) // 2] += 1
  weights = [i ** (0.01 - 1) for i in range(1, 32)]
  for place in (0, 1, 2, 5, 10, 30):
    assert_share(places[place], 3000, weights[place] / sum(weights))


def test_figure_2_has_a_pair_for_each_16_tokens():
  make = Mqar().variants()['more pairs'].make
  for length, pairs in ((64, 4), (128, 8), (256, 16)):
    assert all(len(labels) == pairs for _, labels in samples(make, length, count=20))


# Induction heads.


@pytest.mark.parametrize('copied', [1, 3])
def test_the_answer_is_what_followed_each_trigger(copied):
  task, single = Induction(triggers=4, copied=copied), 0
  for tokens, labels in samples(task.make, 64):
    row = tokens + [labels[63]]
    answer = row[-copied:]
    places = [i for i, token in enumerate(row[:-copied]) if token == 15]
    assert places[-1] == len(row) - copied - 1 and 2 <= len(places) <= 5
    assert all(row[place + 1 : place + 1 + copied] == answer for place in places)
    assert np.all(np.diff(places) > copied) and 14 not in row and 15 not in answer
    assert sorted(labels) == [*range(64 - copied, 64)]
    single += len(places) == 2
  other = {1: 0.0, 3: 0.01}[copied]  # four triggers that are all within reach of the first
  assert SAMPLES / 2 - 70 < single < SAMPLES / 2 + 70 + other * SAMPLES


def test_one_place_of_the_trigger_is_as_likely_as_another():
  places = Counter(tokens.index(15) for tokens, _ in samples(Induction().make, 13))
  assert {*places} == {*range(10)}
  for count in places.values():
    assert_share(count, SAMPLES, 1 / 10)


@pytest.mark.parametrize(('task', 'symbols'), [
  (Induction(copied=2), range(14)), (SelectiveCopy(tokens=6), range(14)),
  (AssociativeRecall(), range(7, 14)),
])
def test_the_guess_is_the_most_frequent_symbol_so_far(task, symbols):
  batch = rows(task.make, 24, 100)
  got = task.guess(batch)
  for row, place in zip(*np.nonzero(batch.weights), strict=True):
    best = most_frequent(batch.stream.x[row, : place + 1].tolist(), symbols)
    right = batch.targets[row, place] in best
    assert got[row, place] == pytest.approx(right / len(best))


# Associative recall.


@pytest.mark.parametrize('unseen', [False, True])
def test_the_answer_is_the_value_of_the_key_in_the_row(unseen):
  absent = 0
  for tokens, labels in samples(AssociativeRecall(unseen=unseen).make, 12):
    value_of = dict(zip(tokens[:-2:2], tokens[1:-2:2], strict=True))
    for key, value in zip(tokens[:-2:2], tokens[1:-2:2], strict=True):
      assert 0 <= key < 7 <= value < 14 and value_of[key] == value
    assert len(tokens) == 12 and tokens[-2] == 14
    assert labels == {11: value_of.get(tokens[-1], 15)}
    absent += tokens[-1] not in value_of
  assert_share(absent, SAMPLES, unseen * (6 / 7) ** 5)


def test_a_guess_knows_that_a_key_is_absent():
  task = AssociativeRecall(unseen=True)
  batch = rows(task.make, 12, 200)
  absent = batch.weights & (batch.targets == 15)
  assert absent.sum() > 50 and (task.guess(batch)[absent] == 1).all()


# Selective copy.


def test_the_symbols_are_repeated_in_order():
  task, places = SelectiveCopy(tokens=4), Counter()
  for tokens, labels in samples(task.make, 16):
    string = [token for token in tokens if token < 14]
    assert len(string) == 4 and tokens[11:] == [15] + [14] * 4
    assert labels == {12 + i: symbol for i, symbol in enumerate(string)}
    places.update(place for place in range(11) if tokens[place] < 14)
  for place in range(11):  # also the last place, before the copy token
    assert_share(places[place], SAMPLES, 4 / 11)
