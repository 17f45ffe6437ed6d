"""Guesses of the tasks of the Chomsky hierarchy: published, of all problems, of samples."""

import collections
import itertools
import math

import numpy as np
import pytest

from posjax.tasks.core.expressions import value_shares
from posjax.tasks.stack_manipulation import depths
from tests.support.chomsky import RULES, SLOTS, all_tasks, build, draw, stack

# The published accuracies of one constant class at 41 tokens, terminator included, two decimals
# from 512 samples; in the order of the published table.

CHANCE = {
  'even_pairs': 0.5, 'modular_arithmetic': 0.2, 'parity_check': 0.5, 'cycle_navigation': 0.2,
  'stack_manipulation': 0.49, 'reverse_string': 0.5, 'modular_arithmetic_brackets': 0.29,
  'solve_equation': 0.2, 'duplicate_string': 0.5, 'missing_duplicate_string': 0.5,
  'odds_first': 0.5, 'binary_addition': 0.5, 'binary_multiplication': 0.49, 'compute_sqrt': 0.5,
  'bucket_sort': 0.21,
}


@all_tasks
def test_one_constant_class_reaches_the_published_chance(name):
  answers = [answer for _, answer in draw(build(name), 41, 2000, seed=2)]
  scored = [answer.partition('2') if name in SLOTS else (answer,) for answer in answers]
  counts = collections.Counter(''.join(part for parts in scored for part in parts[:2]))
  found = max(counts.values()) / counts.total()
  # Labels: three standard errors; strings of bits: the rounding of the table.
  assert found == pytest.approx(CHANCE[name], abs=0.035 if len(answers[0]) == 1 else 0.015)


@pytest.mark.parametrize(('name', 'size', 'guess'), [
  ('modular_arithmetic', 41, 0.2), ('modular_arithmetic_brackets', 41, 0.29),
  ('modular_arithmetic_brackets', 500, 0.32), ('cycle_navigation', 41, 0.2),
])
def test_exact_guesses_are_the_published_ones(name, size, guess):
  assert round(build(name).guess(size), 2) == guess


def test_without_products_all_values_are_equally_likely():
  np.testing.assert_allclose(value_shares(41, '+-'), [0.2] * 5)
  assert np.argmax(value_shares(41, '+-*')) == 0


# Guesses against all problems of a size, with their probabilities.


def expressions(length, signs):
  if length < 5:
    yield from ((('{}', '-{}', '({})', '(-{})')[length - 1].format(d), 1 / 5) for d in range(5))
    return
  for n in range(1, length - 3):
    sides = itertools.product(expressions(n, signs), expressions(length - 3 - n, signs))
    for (left, p), (right, q) in sides:
      yield from ((f'({left}{s}{right})', p * q / len(signs) / (length - 4)) for s in signs)


def products(letters, size):
  words = itertools.product(letters, repeat=size)
  return ((''.join(word), len(letters) ** -size) for word in words)


def problems(name, size):
  """Yields the questions of a size, with their probabilities."""
  if name == 'modular_arithmetic':
    columns = [('01234', '+-*')[i % 2] for i in range(size)]
    words = [''.join(word) for word in itertools.product(*columns)]
    yield from ((word, 1 / len(words)) for word in words)
  elif name == 'modular_arithmetic_brackets':
    yield from expressions(size, '+-*')
  elif name == 'stack_manipulation':
    for n in range(1, size):
      for (bits, p), (rest, q) in itertools.product(products('01', n), products('poi', size - n)):
        yield bits + rest, p * q / (size - 1)
  elif name in SLOTS:
    sign = '+' if name == 'binary_addition' else '*'
    for n in range(1, size - 1):
      sides = [[w for w, _ in products('01', k) if '1' in w] for k in (n, size - 1 - n)]
      for a, b in itertools.product(*sides):
        yield a + sign + b, 1 / len(sides[0]) / len(sides[1]) / (size - 2)
  else:
    letters = {'cycle_navigation': '-0+', 'bucket_sort': '01234'}.get(name, '01')
    words = [word for word, _ in products(letters, size) if name != 'compute_sqrt' or '1' in word]
    yield from ((word, 1 / len(words)) for word in words)


def best(name, size, form):
  """Returns the accuracy of the likeliest token at each place of answers of equal length."""
  shares = collections.defaultdict(collections.Counter)
  for question, share in problems(name, size):
    answer = RULES[name][1](question)
    length = 0 if form == 'encoder' else len(answer)
    if form == 'encoder' and name in SLOTS:
      answer += '2'
    for place, token in enumerate(answer):
      shares[length, place][token] += share
  return sum(max(s.values()) for s in shares.values()) / sum(s.total() for s in shares.values())


@pytest.mark.parametrize(('name', 'sizes'), [
  ('cycle_navigation', (1, 2, 3, 6)), ('modular_arithmetic', (1, 3, 5, 7)),
  ('modular_arithmetic_brackets', (4, 5, 8, 9)), ('bucket_sort', (1, 2, 5)),
  ('compute_sqrt', (1, 2, 3, 4, 9, 10)), ('stack_manipulation', (2, 3, 8)),
  ('even_pairs', (1, 2, 7)), ('parity_check', (1, 6)), ('reverse_string', (5,)),
  ('duplicate_string', (5,)), ('odds_first', (6,)),
])
def test_guesses_are_exact(name, sizes):
  for size in sizes:
    assert build(name).guess(size) == pytest.approx(best(name, size, 'encoder'), rel=1e-9)


@pytest.mark.parametrize('form', ['encoder', 'decoder'])
@pytest.mark.parametrize('name', SLOTS)
def test_guesses_of_numbers_and_stacks_are_close_to_the_exact_ones(name, form):
  # An estimate scores 1,024 answers: five standard errors, as if each answer had one token.
  assert build(name, form).guess(8) == pytest.approx(best(name, 8, form), abs=5 / 2 / 32)


def test_depths_of_stacks_are_those_of_simulations():
  found = collections.Counter(len(stack(q)) for q, _ in draw(build('stack_manipulation'), 20, 4000))
  for depth, share in enumerate(depths(20)):
    assert abs(found[depth] - 4000 * share) <= 5 * math.sqrt(4000 * share) + 1e-9
  assert depths(20).sum() == pytest.approx(1)


@all_tasks
def test_guesses_are_those_of_samples(name):
  """The likeliest token of each slot in 1,000 answers, scored on 1,000 others."""
  answers = [answer for _, answer in draw(build(name), 11, 2000, seed=3)]
  if name in SLOTS:
    answers = [answer[: answer.index('2') + 1] for answer in answers]
  columns = itertools.zip_longest(*answers[:1000])
  tokens = [collections.Counter(filter(None, c)).most_common(1)[0][0] for c in columns]
  hits = [[c == t for c, t in zip(answer, tokens, strict=False)] for answer in answers[1000:]]
  found = sum(map(sum, hits)) / sum(map(len, hits))
  # The standard error of the mean of 1,000 rows, whose slots are not independent.
  error = np.std([sum(row) - found * len(row) for row in hits]) / np.mean([*map(len, hits)])
  estimate = 2 if name.startswith('binary') else 1  # the guess has an error of its own
  assert abs(build(name).guess(11) - found) < 5 * estimate * error / math.sqrt(1000) + 0.01
