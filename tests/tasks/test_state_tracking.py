"""Counting, word problems, cups and changed reads of flip-flop: rules, groups and guesses."""

import itertools
import math
import re

import jax
import numpy as np
import pytest

from posjax import tasks
from posjax.errors import UserError
from posjax.tasks.core.generated import Generated
from posjax.tasks.counting import DENSE, SPARSE, Counting
from posjax.tasks.cups import Cups
from posjax.tasks.flip_flop import FlipFlop
from posjax.tasks.word_problem import WordProblem, table


def samples(make, length, count=1000):
  """Yields the example of each seed."""
  for seed in range(count):
    yield make(np.random.default_rng(seed), length=length)


def rows(make, length, count):
  return Generated(lambda rng: make(rng, length=length), 'test', count).rows(length, length)


@pytest.mark.parametrize('task', [Counting(), WordProblem(), Cups()],
                         ids=lambda task: type(task).__name__)
def test_the_generator_determines_the_rows(task):
  first, again = (rows(task.make, 40, 256) for _ in range(2))
  for a, b in ((first.stream.x, again.stream.x), (first.targets, again.targets)):
    np.testing.assert_array_equal(a, b)
  assert len(np.unique(first.stream.x, axis=0)) > 250


@pytest.mark.parametrize(('name', 'arguments', 'message'), [
  ('counting', dict(cap=0), 'task.counting.cap = 0: must be positive'),
  ('cups', dict(cups=2), 'task.cups.cups = 2: must be in [3, 100]'),
  ('word_problem', dict(group='D4'),
   'task.word_problem.group = D4: must be S, A or Z and a number, such as S5, or a product of such '
   'groups, such as A4xZ5'),
  ('word_problem', dict(group='S7'),
   'task.word_problem.group = S7: must have 2 to 720 elements; S5 has 120, S6 has 720'),
  ('word_problem', dict(group='A2'),
   'task.word_problem.group = A2: must have 2 to 720 elements; S5 has 120, S6 has 720'),
])
def test_invalid_arguments_are_refused(name, arguments, message):
  with pytest.raises(UserError, match=re.escape(message)):
    tasks.build(name, 32, **{name: arguments})


# Counting.


@pytest.mark.parametrize(('nvars', 'cap'), [(1, 2), (1, 6), (3, 2)])
def test_labels_are_counts_of_the_variable_that_was_named_last(nvars, cap):
  increments = 0
  for x, labels, weights, _, _ in samples(Counting(nvars=nvars, cap=cap).make, 40):
    counts, named = {}, None
    assert 1 <= x[0] <= nvars and weights.all()
    for token, label in zip(x.tolist(), labels.tolist(), strict=True):
      if token:
        increment, named = divmod(token - 1, nvars)
        assert not increment or counts[named] < cap  # set before, and not at the cap
        counts[named] = counts[named] + 1 if increment else 0
        increments += increment
      assert label == counts[named]
  assert increments > 1000


@pytest.mark.parametrize(('test', 'share'), [('dense', 1 / 18), ('sparse', 0.5 / 27)])
def test_statements_have_the_shares_of_the_test_and_labels_in_the_second_half(test, share):
  made = Counting().variants()[test].make
  sets, total = 0, 0
  for x, _, weights, _, _ in samples(made, 64):
    sets, total = sets + np.sum(x[1:] == 1), total + 63
    assert (weights == (np.arange(64) >= 32)).all()
  assert abs(sets / total - share) < 4 * np.sqrt(share / total)


def shares_of_counts(shares, cap, length):
  """Returns the probability of each count at each place, [length, cap + 1], by the chain."""
  step = np.eye(cap + 1) * (1 - shares[1] - shares[2])
  for count in range(cap + 1):
    step[count, min(count + 1, cap)] += shares[2]
    step[count, 0] += shares[1]
  found = [np.eye(cap + 1)[0]]
  for _ in range(length - 1):
    found.append(found[-1] @ step)
  return np.array(found)


@pytest.mark.parametrize(('test', 'shares', 'length', 'published'), [
  ('dense', DENSE, 32, 0.27), ('dense', DENSE, 128, 0.34), ('sparse', SPARSE, 64, 0.18),
])
def test_the_guess_of_counting_is_the_likeliest_count_of_the_chain(
  test, shares, length, published
):
  exact = shares_of_counts(shares, 6, length)[length // 2 :].mean(axis=0)
  assert exact.max() == pytest.approx(published, abs=0.025)
  batch = rows(Counting().variants()[test].make, length, 1000)
  own = batch.targets[batch.weights]
  got = np.bincount(own, minlength=7) / len(own)
  # The counts of a row are no independent draws: as if each row had but one.
  assert (np.abs(got - exact) < 4 * np.sqrt(exact * (1 - exact) / 1000)).all()
  assert Counting().guess(batch)[batch.weights].mean() == pytest.approx(got.max())


# Word problems.


GROUPS = {'S3': 6, 'S4': 24, 'A4': 12, 'A5': 60, 'Z7': 7, 'Z2xZ2': 4, 'A4xZ5': 60, 'S3xZ2': 12}


@pytest.mark.parametrize(('name', 'order'), GROUPS.items())
def test_tables_are_those_of_groups(name, order):
  products = np.array(table(name))
  every = np.arange(order)
  assert products.shape == (order, order) and WordProblem(group=name).order == order
  assert (products[0] == every).all() and (products[:, 0] == every).all()
  assert (np.sort(products, axis=0) == every[:, None]).all()
  assert (np.sort(products, axis=1) == every).all()
  for a in every:  # (a b) c = a (b c)
    np.testing.assert_array_equal(products[products[a]], products[a][products])


def commutators(name):
  """Returns the elements of the group that all commutators generate."""
  products = np.array(table(name))
  inverse = np.argmin(products, axis=1)  # the product with it is element 0
  found = {0} | {
    int(products[products[a, b], products[inverse[a], inverse[b]]])
    for a, b in itertools.product(range(len(products)), repeat=2)
  }
  while len(larger := found | {int(products[a, b]) for a in found for b in found}) > len(found):
    found = larger
  return found


@pytest.mark.parametrize(('name', 'size'), [
  ('S3', 3), ('S4', 12), ('A4', 4), ('A5', 60), ('Z7', 1), ('A4xZ5', 4)
])
def test_a_guess_that_knows_the_elements_but_not_their_order(name, size):
  products, derived = table(name), commutators(name)
  assert len(derived) == size
  inverse = np.argmin(products, axis=1)
  rng = np.random.default_rng(0)
  for _ in range(20):  # two orders of the same elements differ by a product of commutators
    first = rng.integers(len(products), size=6)
    a, b = (_product(products, own) for own in (first, rng.permutation(first)))
    assert products[inverse[a]][b] in derived


def _product(products, elements):
  state = 0
  for element in elements:
    state = products[state][element]
  return state


def test_labels_are_prefix_products_of_permutations():
  permutations = [*itertools.permutations(range(4))]
  for x, labels, weights, _, _ in samples(WordProblem(group='S4').make, 16, count=200):
    assert x[0] == 24 and [*weights] == [False] + [True] * 15
    state = (0, 1, 2, 3)
    for element, label in zip(x[1:], labels[1:], strict=True):
      state = tuple(state[i] for i in permutations[element])
      assert permutations[label] == state
    assert labels[1] == x[1]


def test_labels_of_a_cyclic_group_are_sums():
  for x, labels, _, _, _ in samples(WordProblem(group='Z60').make, 20, count=100):
    np.testing.assert_array_equal(labels[1:], np.cumsum(x[1:]) % 60)


def test_prefix_products_are_uniform_and_independent():
  batch = rows(WordProblem().make, 8, 3000)
  pairs = np.bincount(batch.targets[:, 6] * 6 + batch.targets[:, 7], minlength=36) / 3000
  assert (np.abs(pairs - 1 / 36) < 4 * np.sqrt(1 / 36 / 3000)).all()
  assert (WordProblem().guess(batch) == 1 / 6).all()


# Cups.


def test_labels_are_the_cup_with_the_ball():
  swaps = [*itertools.combinations(range(5), 2)]
  for x, labels, weights, _, _ in samples(Cups().make, 16, count=300):
    assert x[0] == len(swaps) == 10 and [*weights] == [False] + [True] * 15
    under = ['ball', '', '', '', '']
    for swap, label in zip(x[1:], labels[1:], strict=True):
      a, b = swaps[swap]
      under[a], under[b] = under[b], under[a]
      assert under[label] == 'ball'


@pytest.mark.parametrize('cups', [3, 5])
def test_the_guess_of_cups_is_the_first_cup_with_the_stated_probability(cups):
  task = Cups(cups=cups)
  batch = rows(task.make, 10, 3000)
  first = (batch.targets[:, 1:] == 0).mean(axis=0)
  want = 1 / cups + (1 - 1 / cups) * (1 - 2 / (cups - 1)) ** np.arange(1, 10)
  assert (np.abs(first - want) < 4 * np.sqrt(want * (1 - want) / 3000)).all()
  if cups == 5:
    assert want[0] == pytest.approx(1 - 2 / 5)  # two of five cups are swapped
    np.testing.assert_array_equal(task.guess(batch), batch.targets == 0)
  assert task.vocabulary == math.comb(cups, 2) + 1 and task.outputs == cups


# Flip-flop.


def test_changed_reads_come_after_a_write_of_the_other_bit():
  task = FlipFlop()
  batch = rows(task.variants()['dense'].make, 64, 100)
  outputs = np.eye(256)[batch.targets]
  weights = np.asarray(jax.jit(task.metrics)(outputs, batch)['changed reads right'][1])
  for row in range(100):
    written = []
    for place in range(0, 63, 2):
      instruction, bit = chr(batch.stream.x[row, place]), batch.targets[row, place]
      if instruction == 'w':
        written.append(bit)
      changed = instruction == 'r' and len(written) > 1 and written[-2] != written[-1]
      assert weights[row, place] == changed
  assert not weights[:, 1::2].any() and weights.sum() > 500


def test_the_majority_of_writes_is_no_help_for_changed_reads():
  task = FlipFlop()
  batch = rows(task.variants()['dense'].make, 32, 1000)
  found = task.floors(batch)
  assert found['changed reads right'] == pytest.approx(0.5, abs=0.04)
  assert found['reads right'] > 0.6
