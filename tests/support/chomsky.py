"""Rules of the tasks of the Chomsky hierarchy, each by another way than the task's own."""

import math
import re

import numpy as np
import pytest

from posjax import tasks

# Each task: the pattern of its questions, and its answer by an independent rule.


def solution(question):
  """Finds the digit by trying all of them: there must be exactly one."""
  left, right = question.split('=')
  (digit,) = (d for d in '01234' if eval(left.replace('x', d)) % 5 == int(right))
  return digit


def stack(question):
  contents, actions = re.fullmatch('([01]+)([poi]*)', question).groups()
  for action in actions:
    contents = contents[:-1] if action == 'p' else contents + {'o': '0', 'i': '1'}[action]
  return contents[::-1]


def missing(question):
  bits = question.rstrip('_')
  (digit,) = (d for d in '01' if re.fullmatch(r'([01]+)\1', bits.replace('?', d)))
  return digit


def arithmetic(question):
  a, sign, b = re.split(r'([+*])', question)
  a, b = int(a[::-1], 2), int(b[::-1], 2)
  return bin(a + b if sign == '+' else a * b)[:1:-1]


def root(question):
  number = int(question, 2)
  return bin(math.isqrt(number))[2:].rjust(math.ceil(len(question) / 2), '0')


RULES = {
  'even_pairs': ('[01]+', lambda q: str((q.count('01') + q.count('10')) % 2)),
  'modular_arithmetic': (r'[0-4]([-+*][0-4])*', lambda q: str(eval(q) % 5)),
  'parity_check': ('[01]+', lambda q: str(q.count('1') % 2)),
  'cycle_navigation': ('[-0+]+', lambda q: str((q.count('+') - q.count('-')) % 5)),
  'stack_manipulation': ('[01]+[poi]*', stack),
  'reverse_string': ('[01]+', lambda q: ''.join(reversed(q))),
  'modular_arithmetic_brackets': (r'[-+*()0-4]+', lambda q: str(eval(q) % 5)),
  'solve_equation': (r'[-+()0-4x]+=[0-4]', solution),
  'duplicate_string': ('[01]+', lambda q: q + q),
  'missing_duplicate_string': (r'[01]*\?[01]*_?', missing),
  'odds_first': (
    '[01]+', lambda q: ''.join(c for start in (1, 0) for i, c in enumerate(q) if i % 2 == start)
  ),
  'binary_addition': (r'[01]+\+[01]+', arithmetic),
  'binary_multiplication': (r'[01]+\*[01]+', arithmetic),
  'compute_sqrt': ('[01]+', root),
  'bucket_sort': ('[0-4]+', lambda q: ''.join(sorted(q))),
}
SLOTS = {'stack_manipulation': 1, 'binary_addition': 1, 'binary_multiplication': 0}  # minus size
all_tasks = pytest.mark.parametrize('name', RULES)


def build(name, form='encoder'):
  return tasks.find(name)(form=form)


def text(array):
  return bytes(np.asarray(array, np.uint8)).decode()


def draw(task, size, count, seed=0):
  rng = np.random.default_rng(seed)
  return [tuple(map(text, task.make(rng, size))) for _ in range(count)]


def within(count, total, share):
  """Whether a count is within five standard errors of its expectation."""
  return abs(count - total * share) < 5 * math.sqrt(total * share * (1 - share))
