"""Sums and products against Python's integers; their guesses; positions of Abacus and coupling."""

import collections
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import data
from posjax.config import load
from posjax.encodings import Bound, Positions
from posjax.encodings.abacus import Abacus
from posjax.encodings.coupling import Coupling
from posjax.tasks.addition import Addition, carried, draw
from posjax.tasks.multiplication import Multiplication, product
from tests.support.problem import DIMS


def text(tokens):
  return bytes(np.asarray(tokens, np.uint8)).decode()


def numbers(task, size, count=400):
  """Yields three texts: both operands and the answer, with the first digit first."""
  rng, sign = np.random.default_rng(size), '*+'[isinstance(task, Addition)]
  for _ in range(count):
    question, answer = map(text, task.make(rng, size))
    yield [part[:: -1 if task.reverse else 1] for part in (*question.split(sign), answer)]


@pytest.mark.parametrize('reverse', [True, False])
@pytest.mark.parametrize('equal', [True, False])
def test_sums_equal_those_of_python(equal, reverse):
  for size in (1, 2, 5, 40):
    lengths = collections.Counter()
    for a, b, answer in numbers(Addition(equal=equal, reverse=reverse), size):
      assert answer == str(int(a) + int(b))
      assert (a, b) == (str(int(a)), str(int(b)))  # no leading zeros
      assert max(len(a), len(b)) == size
      lengths[len(a), len(b)] += 1
    shapes = [(n, size) for n in range(1, size + 1)] + [(size, n) for n in range(1, size)]
    assert set(lengths) == {(size, size)} if equal else set(lengths) <= set(shapes)
    if not equal and size == 5:
      # Either order of 1 to 4 digits has a share of 1/10; five and five have 1/5.
      assert all(abs(lengths[s] - 40 * (1 + (s == (5, 5)))) < 40 for s in shapes)


@pytest.mark.parametrize('equal', [True, False])
def test_padding_aligns_all_numbers(equal):
  for size in (1, 4, 30):
    for a, b, answer in numbers(Addition(equal=equal, pad=True), size):
      assert (len(a), len(b), len(answer)) == (size, size, size + 1)
      assert int(answer) == int(a) + int(b)


def test_carries_run_through_nines():
  rng = np.random.default_rng(0)
  for size in (1, 2, 5, 60, 300):
    for _ in range(50):
      sums = rng.choice([0, 8, 9, 9, 9, 9, 10, 18], size=size)
      digits = carried(sums)
      assert ((digits >= 0) & (digits <= 9)).all()
      value = sum(int(digit) * 10**i for i, digit in enumerate(sums))
      assert value == sum(int(digit) * 10**i for i, digit in enumerate(digits))


@pytest.mark.parametrize('reverse', [True, False])
def test_products_equal_those_of_python(reverse):
  for size in (1, 2, 5, 40):
    for a, b, answer in numbers(Multiplication(reverse=reverse), size):
      assert answer == str(int(a) * int(b))
      assert len(a) == len(b) == size and (size == 1 or '0' not in (a[0], b[0]))
  nines = np.full(50, 9)
  assert text(product(nines, nines)[::-1] + ord('0')) == str((10**50 - 1) ** 2)
  long = np.random.default_rng(0).integers(1, 10, size=(2, 1000))
  a, b = (int(text(ord('0') + digits[::-1])) for digits in long)
  assert int(text(ord('0') + product(*long)[::-1])) == a * b


def test_digits_are_uniform():
  rng = np.random.default_rng(0)
  made = np.stack([draw(rng, 3) for _ in range(9000)])
  for place, low in ((0, 0), (1, 0), (2, 1)):
    counts = np.bincount(made[:, place], minlength=10)
    mean = 9000 / (10 - low)
    assert not counts[:low].any() and np.abs(counts[low:] - mean).max() < 5 * mean**0.5


def enumerated(totals, width=0):
  """Returns the accuracy of the best guess for weighted totals, {digits of the operands: totals}.

  `width` is the width of the answers; 0: without padding.
  """
  right, tokens, found = 0.0, 0.0, collections.defaultdict(float)
  for values in totals:
    for value, count in collections.Counter(values.ravel().tolist()).items():
      answer = f'{value:0{width}d}'
      tokens += len(answer) * count / values.size
      for place, digit in enumerate(answer):
        found[len(answer), place, digit] += count / values.size
  for key in {key[:2] for key in found}:
    right += max(found[*key, digit] for digit in '0123456789')
  return right / tokens


RANGES = {1: np.arange(10), 2: np.arange(10, 100), 3: np.arange(100, 1000)}


@pytest.mark.parametrize('size', [1, 2, 3])
@pytest.mark.parametrize('pad', [False, True])
@pytest.mark.parametrize('equal', [False, True])
def test_the_guess_of_sums_equals_an_enumeration(equal, pad, size):
  others = [size] if equal else range(1, size + 1)
  totals = [RANGES[size][:, None] + RANGES[n] for n in others]
  want = enumerated(totals, (size + 1) * pad)
  assert Addition(equal=equal, pad=pad).guess(size) == pytest.approx(want, abs=1e-12)


def test_the_guess_of_long_sums_is_a_tenth():
  # Of 200 places all but the last few are uniform: their digits alone would be right in 20.
  for task in (Addition(), Addition(equal=False), Addition(pad=True)):
    assert 0.1 < task.guess(200) < 0.105


@pytest.mark.parametrize('size', [1, 2])
def test_the_guess_of_products_is_near_an_enumeration(size):
  want = enumerated([RANGES[size][:, None] * RANGES[size]])
  assert Multiplication().guess(size) == pytest.approx(want, abs=0.002)


# Positions.


def encoded(task, size):
  """Returns the tokens that a decoder reads for a problem, and an array for the functions below."""
  x = task.example(np.random.default_rng(size), size).x
  return x, np.pad(x, (0, 32 - len(x)), constant_values=data.PAD)


def at(x):
  order = jnp.arange(len(x), dtype=jnp.int32)[None]
  return Positions(order[..., None], order, jnp.where(x == data.PAD, -1, 0)[None], ids=x[None])


@functools.cache
def coupling():
  """Returns a function (tokens, key or None) -> positions, with the values of the config."""
  config, *_ = load('configs/tasks/addition.py', [])
  encoding = Coupling(**config.encoding.coupling).with_dims(DIMS)
  place = jax.jit(lambda x, state: Bound(encoding, {}).positions(at(x), state)[0][0, :, 0])

  def positions(x, key=None):
    return place(x, encoding.init_state(1, 64, key is not None, key).sequence).tolist()

  return positions


@pytest.mark.parametrize('size', [1, 4, 9])
def test_coupled_positions_are_the_mirror_image_of_the_released_ones(size):
  """The released code for n padded digits, with `reverse_input` and `reverse_output`."""
  x, padded = encoded(Addition(pad=True), size)
  end = 1 + size + 1
  operands = [*range(end - size, end + 1)] * 2  # two numbers, each followed by '+' or '='
  operands[:-1] = operands[:-1][::-1]
  answer = [*range(end - (size + 1), end)][::-1]
  got = coupling()(padded)[: len(x)]
  assert x[0] == data.BOS and got[0] == 0
  assert got[1:] == [end + 1 - p for p in operands + answer]


@pytest.mark.parametrize('pad', [False, True])
def test_digits_of_the_same_weight_share_a_position(pad):
  x, padded = encoded(Addition(pad=pad, equal=False), 7)
  plus, sep = ([*x].index(token) for token in (ord('+'), data.SEP))
  starts = []
  for key in (None, *jax.random.split(jax.random.key(0), 20)):
    got = coupling()(padded, key)[: len(x)]
    starts.append(got[sep])
    assert got[plus] == got[sep]
    total = 0
    for number, sign in (((1, plus), 1), ((plus + 1, sep), 1), ((sep + 1, len(x)), -1)):
      for t in range(*number):
        total += sign * int(x[t] - ord('0')) * 10 ** (got[t] - got[sep] - 1)
    assert total == 0
    # Each answer digit is predicted by the token at the position before its own.
    assert [got[t] + 1 for t in range(sep, len(x) - 1)] == got[sep + 1 :]
  assert starts[0] == 1 and set(starts) <= {*range(1, 12)} and len(set(starts)) > 5


def test_abacus_counts_the_digits_of_each_number():
  encoding = Abacus(length=64, max_offset=20).with_dims(DIMS)
  bound = Bound(encoding, {'table_RD': jnp.arange(64.0)[:, None] * jnp.ones(DIMS.D)})
  rows_of = jax.jit(
    lambda x, state: bound.embed(jnp.zeros((1, 32, DIMS.D)), at(x), state)[0][0, :, 0]
  )
  offsets = []
  for pad, key in itertools.product((False, True), (None, *jax.random.split(jax.random.key(0), 9))):
    x, padded = encoded(Addition(pad=pad, equal=False), 6)
    plus, sep = ([*x].index(token) for token in (ord('+'), data.SEP))
    state = encoding.init_state(1, 64, key is not None, key).sequence
    offsets.append(offset := int(state.offset[0]))
    count = lambda n, offset=offset: [offset + c for c in range(1, n + 1)]
    assert rows_of(padded, state).tolist()[: len(x)] == [
      0, *count(plus - 1), 0, *count(sep - plus - 1), 0, *count(len(x) - sep - 1)
    ]
  assert offsets[0] == 0 and len(set(offsets)) > 4
