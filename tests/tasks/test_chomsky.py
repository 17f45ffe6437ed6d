"""Tasks of the Chomsky hierarchy: rules, short strings, and scored slots."""

import collections
import re

import jax.numpy as jnp
import numpy as np
import pytest

from posjax import run as run_lib
from posjax import state
from posjax.batch import Batch, Stream, padded
from posjax.data import pipeline
from posjax.data.tokenizer import BOS, EOS, MASK, SEP
from posjax.errors import UserError
from posjax.tasks.core.chomsky import to_end
from posjax.tasks.core.expressions import expression
from posjax.tasks.core.generated import Generated
from tests.support.chomsky import (
  RULES,
  SLOTS,
  all_tasks,
  arithmetic,
  build,
  draw,
  root,
  stack,
  text,
  within,
)


@all_tasks
def test_answers_follow_the_rule(name):
  pattern, rule = RULES[name]
  sizes = [*range(3, 41)] * 20 + [99, 300] * 10
  rng, natural = np.random.default_rng(0), build(name, 'decoder')
  for size in sizes:
    question, answer = map(text, natural.make(rng, size))
    assert len(question) == (size - (size % 2 == 0) if name == 'modular_arithmetic' else size)
    assert re.fullmatch(pattern, question) and answer == rule(question)
    assert len(answer) <= natural.longest(size)[1]


@pytest.mark.parametrize('name', SLOTS)
def test_slots_of_an_encoder_are_value_terminator_and_zeros(name):
  for size in (1, 2, 3, 9, 40):
    plain, slots = (draw(build(name, form), size, 50) for form in ('decoder', 'encoder'))
    for (question, value), (again, answer) in zip(plain, slots, strict=True):
      assert question == again and len(answer) == size + SLOTS[name]
      assert re.fullmatch(f'{value}20*', answer)
    assert build(name).longest(size) == (size, size + SLOTS[name])


def test_the_rules_give_the_published_examples():
  assert arithmetic('001+01101') == '01011' and arithmetic('001*01101') == '0001101'
  assert stack('0110ipp') == '110' and stack('110ppp') == ''
  assert root('100101') == '110' and root('111') == '10'


SHORT = {  # all questions and answers of the shortest sizes, where they are special
  'even_pairs': [{'0>0', '1>0'}],
  'stack_manipulation': [{'0>02', '1>12'}],
  'binary_addition': [{'0>02'}, {'00>020', '10>120', '01>012'}, {'1+1>0120'}],
  'binary_multiplication': [{'0>2'}, {'00>02', '10>02', '01>02'}, {'1*1>120'}],
  'missing_duplicate_string': [
    {'1>1'}, {'?0>0', '0?>0', '?1>1', '1?>1'}, {'?0_>0', '0?_>0', '?1_>1', '1?_>1'}
  ],
  'solve_equation': [{'0>0'}, {'00>0'}, {f'x={d}>{d}' for d in '01234'}],
  'compute_sqrt': [{'1>1'}, {'01>1', '10>1', '11>1'}],
  'modular_arithmetic': [{f'{d}>{d}' for d in '01234'}] * 2,
  'modular_arithmetic_brackets': [
    {f'{d}>{d}' for d in '01234'}, {f'-{d}>{-d % 5}' for d in range(5)},
    {f'({d})>{d}' for d in '01234'}, {f'(-{d})>{-d % 5}' for d in range(5)},
  ],
}


@pytest.mark.parametrize('name', SHORT)
def test_the_shortest_questions(name):
  for size, want in enumerate(SHORT[name], 1):
    assert {'>'.join(pair) for pair in draw(build(name), size, 300)} == want


def test_labels_of_499_tokens_are_those_of_exact_arithmetic():
  for name in ('modular_arithmetic', 'modular_arithmetic_brackets'):
    for question, answer in draw(build(name), 499, 150, seed=1):
      assert len(question) == 499 and int(answer) == eval(question) % 5


def test_roots_of_500_digits_are_exact():
  for question, answer in draw(build('compute_sqrt'), 500, 300):
    number, found = int(question, 2), int(answer, 2)
    assert found**2 <= number < (found + 1) ** 2 and len(answer) == 250


def test_numbers_of_digits_and_depths_are_uniform():
  plus = collections.Counter(q.index('+') for q, _ in draw(build('binary_addition'), 8, 6000))
  first = collections.Counter(
    len(re.match('[01]+', q)[0]) for q, _ in draw(build('stack_manipulation'), 8, 6000)
  )
  assert {*plus} == {*range(1, 7)} and all(within(n, 6000, 1 / 6) for n in plus.values())
  assert {*first} == {*range(1, 8)} and all(within(n, 6000, 1 / 7) for n in first.values())


def test_operands_are_uniform_and_never_zero():
  operands = collections.Counter(
    tuple(q.split('*')) for q, _ in draw(build('binary_multiplication'), 4, 6000)
  )
  # One digit times two, or two times one: three numbers of two digits are positive.
  assert len(operands) == 6 and all(within(n, 6000, 1 / 6) for n in operands.values())


def split(question):
  """Returns the sides and the operator of a bracket, found by trying each operator."""
  (found,) = (
    (question[1:i], question[i], question[i + 1 : -1]) for i in range(2, len(question) - 2)
    if question[i] in '+-*' and derivable(question[1:i]) and derivable(question[i + 1 : -1])
  )
  return found


def derivable(question):
  if len(question) < 5:
    return bool(re.fullmatch(r'\d|-\d|\(\d\)|\(-\d\)', question))
  if (question[0], question[-1]) != ('(', ')'):
    return False
  try:
    return bool(split(question))
  except ValueError:  # none, or several
    return False


def test_expressions_follow_the_grammar():
  rng = np.random.default_rng(0)
  found = [split(expression(rng, 9, '+-*')[0]) for _ in range(1500)]
  lengths = collections.Counter(len(left) for left, _, _ in found)
  signs = collections.Counter(sign for _, sign, _ in found)
  assert {*lengths} == {*range(1, 6)} and all(within(n, 1500, 1 / 5) for n in lengths.values())
  assert {*signs} == {*'+-*'} and all(within(n, 1500, 1 / 3) for n in signs.values())


def test_the_unknown_digit_is_the_first_from_a_uniform_place():
  shapes = collections.Counter(
    re.sub(r'\d', 'd', q[:-2]) for q, _ in draw(build('solve_equation'), 7, 8000) if '+' in q
  )
  # Five places of (d+d): from ( and the first digit on the first, from + and the second on the
  # second, from ) on the first again.
  total = shapes.total()
  assert {*shapes} == {'(x+d)', '(d+x)'} and within(shapes['(x+d)'], total, 3 / 5)


# Rows.


def test_an_encoder_reads_the_question_and_a_mask_for_each_slot():
  example = build('reverse_string').example(np.random.default_rng(0), 5)
  question = [*example.x[:5]]
  assert [*example.x] == [*question, *[MASK] * 5] and [*example.weights] == [0] * 5 + [1] * 5
  assert [*example.targets[5:]] == question[::-1]


def test_a_decoder_generates_the_number_and_its_end():
  example = build('binary_addition', 'decoder').example(np.random.default_rng(0), 9)
  question, answer = text(example.x[1:10]), arithmetic(text(example.x[1:10]))
  assert [*example.x] == [BOS, *question.encode(), SEP, *answer.encode()]
  assert [*example.targets[-len(answer) - 1 :]] == [*answer.encode(), EOS]


def test_accuracy_ends_at_the_terminator_and_the_loss_does_not():
  task = build('binary_addition')
  slots = ['0120', '1200', '0120']
  row = lambda answer: np.array([0, *answer.encode()], np.int32)
  targets = np.stack([row(answer) for answer in slots])
  weights = np.array([[0, 1, 1, 1, 1]] * 3, bool)
  batch = Batch(Stream(targets, segment_ids=np.zeros_like(targets)), targets, weights)
  # The first answer is wrong after its end, the second at its end, the third is right.
  said = np.stack([row(answer) for answer in ('0121', '1000', '0120')])
  found = task.metrics(jnp.eye(task.vocabulary)[said], batch)
  mean = lambda name: float(np.average(found[name][0], weights=found[name][1]))
  assert mean('exact match') == pytest.approx(2 / 3)
  assert mean('token accuracy') == pytest.approx(7 / 8)  # of 3, 2 and 3 slots
  assert found['nats/token'][1].sum() == 12


def test_each_answer_of_a_packed_row_is_scored_to_its_own_end():
  task = build('stack_manipulation')
  batch = next(pipeline.batches(
    Generated(lambda rng: task.example(rng, int(rng.integers(1, 9))), 'train'), name='stack',
    length=64, answers=64, batch=4, seed=0,
  ))
  want = np.zeros_like(batch.weights)
  for row, segments in enumerate(batch.stream.segment_ids):
    for segment in range(segments.max() + 1):
      places = np.flatnonzero((segments == segment) & batch.weights[row])
      want[row, places[: text(batch.targets[row, places]).index('2') + 1]] = True
  assert batch.stream.segment_ids.max() > 3
  np.testing.assert_array_equal(to_end(batch), want)


@all_tasks
def test_examples_are_the_same_in_every_run(name):
  task = build(name)
  make = lambda split: Generated(lambda rng: task.example(rng, 12), split, 20).rows(40, 40)
  first, again, other = make('train'), make('train'), make('test')
  np.testing.assert_array_equal(first.stream.x, again.stream.x)
  np.testing.assert_array_equal(first.targets, again.targets)
  questions = lambda rows: {bytes(row[:12].astype(np.uint8)) for row in rows.stream.x}
  assert len(questions(first) & questions(other)) < 5


@all_tasks
@pytest.mark.parametrize('form', ['encoder', 'decoder', 'encoder_decoder'])
def test_the_largest_problem_fits_into_a_row(name, form):
  task = build(name, form)
  task.check(64)
  rng, largest = np.random.default_rng(0), task.largest(64)
  examples = [task.example(rng, largest) for _ in range(30)]
  longest = max(max(len(e.x), 0 if e.source is None else len(e.source)) for e in examples)
  assert padded(examples, 64, 64).weights.any() and 64 - 3 <= longest <= 64


def built(line):
  words = ['posjax', '--config=configs/tasks/reverse_string.py', *line.split()]
  config = run_lib.parse(words).config
  return config, state.build(config)


def test_the_config_trains_an_encoder_on_up_to_40_bits():
  config, (task, _) = built('')
  lengths = [round(config.train.length * multiple) for multiple in config.evaluate.multiples]
  assert task.form == 'encoder' and [task.largest(n) for n in lengths] == [40, 50, 60, 80]


def test_a_row_too_short_for_any_problem_is_refused():
  line = '--config.task.name=duplicate_string --config.train.length=2'
  with pytest.raises(UserError, match='train.length = 2: must be at least 3'):
    built(line)
