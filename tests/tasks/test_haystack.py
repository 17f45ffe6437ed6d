"""Needles in a haystack: rules read by independent parsers, depths, guesses, sizes, the RNG."""

import collections
import dataclasses
import itertools
import math
import re

import numpy as np
import pytest

from posjax.data import BOS, EOS, SEP
from posjax.errors import UserError
from posjax.tasks.common_words import CommonWords
from posjax.tasks.core.haystack import CAPITALS, SENTENCES, distinct
from posjax.tasks.multi_key import MultiKey
from posjax.tasks.passkey import Passkey
from posjax.tasks.variable_tracking import VariableTracking

DECODER = dict(form='decoder', rows=4)
TASKS = [
  Passkey(**DECODER), Passkey(filler='sentences', digits=2, **DECODER), MultiKey(**DECODER),
  MultiKey(pairs=9, letters=2, digits=1, **DECODER), VariableTracking(**DECODER),
  VariableTracking(hops=2, chains=3, letters=2, digits=1, **DECODER), CommonWords(**DECODER),
  CommonWords(common=3, often=5, rarely=2, letters=3, **DECODER),
]
IDS = [f'{type(task).__name__}{i % 2}' for i, task in enumerate(TASKS)]


def text(tokens):
  return bytes(np.asarray(tokens, np.uint8)).decode()


def problems(task, size, count, seed=0):
  """Returns questions and answers as text."""
  rng = np.random.default_rng(seed)
  return [tuple(map(text, task.make(rng, size))) for _ in range(count)]


def expected(task, question):
  """Returns the answer to a question, and its filler; reads the text, not the arrays."""
  if isinstance(task, CommonWords):
    words = question.lstrip('.').split()
    counts = collections.Counter(words)
    common = [word for word in dict.fromkeys(words) if counts[word] == task.often]
    rest = [count for count in counts.values() if count != task.often]
    assert len(common) == task.common and {*rest} == {task.rarely}
    assert {*map(len, words)} == {task.letters} and len(rest) >= task.common
    dots = question[: len(question) - len(question.lstrip('.'))]
    assert len(dots) < task.rarely * (task.letters + 1)  # one more word would not fit
    return ''.join(common), dots
  haystack, query = question.rsplit('?', 1)
  if isinstance(task, VariableTracking):
    pattern = f'#([A-Z]{{{task.letters}}})=([A-Z]{{{task.letters}}}|[0-9]{{{task.digits}}})'
    values, chain = {}, []
    for name, right in re.findall(pattern, haystack):
      assert name not in values
      values[name] = values[right] if right in values else right
      chain += [name] * (values[name] == query)
    chains = collections.Counter(values.values())
    assert len(chains) == task.chains and {*chains.values()} == {task.hops + 1}
    return ''.join(chain), re.sub(pattern, '', haystack)
  key = '#' if isinstance(task, Passkey) else f'[A-Z]{{{task.letters}}}'
  needles = re.findall(f'({key})([0-9]{{{task.digits}}})', haystack)
  assert len(dict(needles)) == len(needles) == getattr(task, 'pairs', 1)
  return dict(needles)[query], re.sub(f'{key}[0-9]+', '', haystack)


@pytest.mark.parametrize('task', TASKS, ids=IDS)
def test_answers_follow_the_rule(task):
  for size in (task.smallest, task.smallest + 7, 150):
    for question, answer in problems(task, size, 120):
      want, filler = expected(task, question)
      assert answer == want and len(question) == size
      if getattr(task, 'filler', '') == 'sentences':
        assert filler == (text(SENTENCES) * 2)[: len(filler)]
      elif not isinstance(task, CommonWords):
        assert filler.isalpha() and filler.islower()


@pytest.mark.parametrize('task', TASKS, ids=IDS)
def test_rows_of_the_largest_size_are_full_and_the_smallest_fits(task):
  rng = np.random.default_rng(0)
  for form in task.forms:
    own = dataclasses.replace(task, form=form)
    for length in (own.room(own.smallest), 171, 256):
      made = own.example(rng, own.largest(length))
      row = made.x if made.source is None else made.source
      assert len(row) == length
    own.check(own.room(own.smallest))
    with pytest.raises(ValueError, match=re.escape('must be at least')):
      own.check(own.room(own.smallest) - 1)
  question, answer = task.make(np.random.default_rng(1), 150)
  x, targets, weights, pos, _ = task.example(np.random.default_rng(1), 150)
  assert [*x] == [BOS, *question, SEP, *answer] and pos is None
  assert [*targets[weights]] == [*answer, EOS]


def depth(question):
  """Returns the number of filler tokens before the asked needle, and the number of slots."""
  haystack, query = question.rsplit('?', 1)
  before, after = re.split(f'{query}[0-9]+', haystack)
  before, after = (len(re.sub('[^a-z]', '', part)) for part in (before, after))
  return before, before + after + 1


@pytest.mark.parametrize('task', [TASKS[0], TASKS[2]], ids=['passkey', 'multi_key'])
def test_depths_are_uniform_and_each_test_has_a_third(task):
  size = task.smallest + 10  # 12 tokens of filler, 13 slots
  thirds = dict(any=range(13), early=range(4), middle=range(4, 8), late=range(8, 13))
  for name, slots in thirds.items():
    made = problems(dataclasses.replace(task, depth=name), size, 800)
    found = collections.Counter(depth(question) for question, _ in made)
    assert {*found} == {(slot, 13) for slot in slots}
    share = 1 / len(slots)
    error = math.sqrt(share * (1 - share) / 800)
    assert max(abs(count / 800 - share) for count in found.values()) < 4 * error
  opened = task.open(None, 64, [64, 128])
  assert [*opened.tests] == [type(task).__module__.rpartition('.')[2], 'early', 'middle', 'late']
  for name, test in [*opened.tests.items()][1:]:
    third = ['early', 'middle', 'late'].index(name)
    for row in (*test.rows[64].stream.x, *test.rows[128].stream.x):
      before, slots = depth(text(row[1 : [*row].index(SEP)]))
      assert slots * third // 3 <= before < slots * (third + 1) // 3
      assert {test.rows[n].weights.sum() for n in (64, 128)} == {4 * (task.digits + 1)}
    assert test.floors[128] == {'exact match': 10.0**-task.digits, 'token accuracy': 0.1}


def test_needles_in_a_full_haystack_are_asked_in_every_place():
  task = MultiKey(pairs=5, digits=1, **DECODER)
  places = collections.Counter()
  for question, _ in problems(task, task.smallest, 1500):
    haystack, query = question.rsplit('?', 1)
    places[re.findall('[A-Z]', haystack).index(query)] += 1
  assert len(places) == 5
  # With three slots for five needles, ties must not favour the asked one.
  assert max(abs(count / 1500 - 1 / 5) for count in places.values()) < 4 * math.sqrt(0.16 / 1500)


@pytest.mark.parametrize('task', TASKS, ids=IDS)
def test_no_token_is_likelier_than_the_guess(task):
  answers = [answer for _, answer in problems(task, task.smallest + 5, 1500)]
  guess = task.guess(task.smallest)
  symbols = '0123456789' if guess == 0.1 else sorted({*itertools.chain(*answers)})
  assert guess == 1 / len(symbols)
  error = math.sqrt(guess * (1 - guess) / len(answers))
  for tokens in zip(*answers, strict=True):
    found = collections.Counter(tokens)
    assert max(abs(found[symbol] / len(answers) - guess) for symbol in symbols) < 5 * error


@pytest.mark.parametrize(('task', 'answers'), [
  (Passkey(digits=2), 100), (MultiKey(digits=2), 100), (VariableTracking(hops=1), 26 * 25),
  (CommonWords(letters=1, common=2), 26 * 25), (VariableTracking(hops=2), 26 * 25 * 24),
])
def test_all_answers_are_equally_likely(task, answers):
  task = dataclasses.replace(task, form='decoder')
  assert task.guess_exact(100) == pytest.approx(1 / answers)
  found = collections.Counter(answer for _, answer in problems(task, task.smallest, 2000))
  assert len(found) <= answers
  # The number of pairs of equal answers has mean n (n - 1) / 2 / answers, and about that variance.
  pairs, mean = sum(n * (n - 1) / 2 for n in found.values()), 2000 * 1999 / 2 / answers
  assert abs(pairs - mean) < 4 * math.sqrt(mean)


def test_a_needle_drawn_at_random_is_right_in_one_of_them():
  rng = np.random.default_rng(0)
  of_keys = of_chains = 0
  for question, answer in problems(MultiKey(digits=9, **DECODER), 80, 1000):
    of_keys += rng.choice(re.findall('[0-9]{9}', question)) == answer
  for question, answer in problems(VariableTracking(chains=4, hops=1, **DECODER), 80, 1000):
    of_chains += rng.choice(re.findall('#(.)=[0-9]', question)) == answer[0]
  for right in (of_keys, of_chains):
    assert abs(right / 1000 - 1 / 4) < 4 * math.sqrt(3 / 16 / 1000)


def test_settings_of_ruler():
  question, answer = problems(CommonWords(common=10, letters=4, **DECODER), 4000, 1)[0]
  counts = collections.Counter(question.replace('.', '').split())
  assert sorted(counts.values())[-11:] == [1, *[6] * 10] and len(answer) == 40
  task = CommonWords(common=10, often=30, rarely=3, letters=4, **DECODER)
  question, _ = problems(task, 8000, 1)[0]
  counts = collections.Counter(question.replace('.', '').split())
  assert sorted(counts.values())[-11:] == [3, *[30] * 10]
  task = VariableTracking(chains=1, letters=3, digits=5, **DECODER)
  question, answer = problems(task, 4000, 1)[0]
  assert answer == ''.join(re.findall('#([A-Z]{3})=', question)) and len(answer) == 5 * 3


@pytest.mark.parametrize('task', [TASKS[0], TASKS[2], TASKS[4], CommonWords(
  letters=4, rarely=3, **DECODER
)], ids=IDS[::2])
def test_rows_of_128k_tokens_are_full(task):
  length = 128_000
  question, answer = task.make(np.random.default_rng(0), length - 2 - task.longest(1)[1])
  assert len(question) + len(answer) + 2 == length
  want, _ = expected(task, text(question))
  assert text(answer) == want


@pytest.mark.parametrize('task', TASKS, ids=IDS)
def test_examples_depend_on_the_generator_only(task):
  first, again, other = (problems(task, 120, 20, seed) for seed in (3, 3, 4))
  assert first == again and not {*first} & {*other}


def test_training_has_all_sizes_from_the_smallest():
  task = MultiKey(**DECODER)
  length = task.room(task.smallest) + 4
  train = task.open(None, length, [length]).train
  sizes = {[*train[i][0].x].index(SEP) - 1 for i in range(100)}
  assert sizes == {*range(task.smallest, task.smallest + 5)}


def test_distinct_words_are_distinct_and_uniform():
  rng = np.random.default_rng(0)
  found = collections.Counter()
  for _ in range(1000):
    words = [text(word) for word in distinct(rng, 20, 1, CAPITALS)]
    assert len({*words}) == 20
    found[words[0]] += 1
  assert {text(word) for word in distinct(rng, 676, 2, CAPITALS)} == {
    a + b for a, b in itertools.product(text(CAPITALS), repeat=2)
  }
  assert len(found) == 26
  assert max(abs(n / 1000 - 1 / 26) for n in found.values()) < 4 * math.sqrt(1 / 26 / 1000)


@pytest.mark.parametrize(('task', 'message'), [
  (Passkey(digits=0), 'digits = 0: must be positive'),
  (Passkey(filler='essays'), 'filler = essays: it must be one of noise, sentences'),
  (Passkey(depth='earli'),
   'depth = earli: did you mean early? It must be one of any, early, middle, late'),
  (MultiKey(pairs=1), 'pairs = 1: must be at least 2'),
  (MultiKey(pairs=27), 'letters = 1: makes 26 keys for 27 pairs'),
  (MultiKey(letters=5), 'letters = 5: must be in [1, 4]'),
  (VariableTracking(hops=0), 'hops = 0: must be positive'),
  (VariableTracking(chains=6),
   'letters = 1: makes 26 names, but 6 chains of 4 hops have 30'),
  (VariableTracking(chains=11, digits=1, hops=1), 'digits = 1: makes 10 numbers for 11 chains'),
  (CommonWords(often=1), 'often = 1: must be more than rarely = 1'),
  (CommonWords(common=0), 'common = 0: must be positive'),
])
def test_wrong_arguments_are_refused(task, message):
  with pytest.raises(ValueError, match=re.escape(message)) as raised:
    dataclasses.replace(task, form='decoder').check(256)
  assert str(raised.value) == message


def test_rows_with_more_words_than_there_are_are_refused():
  with pytest.raises(UserError, match=re.escape(
    'task.common_words.letters = 1: makes 26 words, but a row of 128 tokens has 52;'
  )) as raised:
    CommonWords(letters=1, **DECODER).open(None, 64, [64, 128])
  assert 'raise letters' in str(raised.value)
