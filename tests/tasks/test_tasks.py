"""Tasks: examples by hand, scored targets, refused settings, and rows that resume."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import data, evaluate, state, tasks
from posjax import run as run_lib
from posjax.batch import Batch, Example, Stream
from posjax.data import pipeline
from posjax.errors import UserError
from posjax.models import build as models
from posjax.models import transformer
from posjax.tasks.copy import Copy
from posjax.tasks.core.generated import Generated
from posjax.tasks.core.registry import check_metrics
from posjax.tasks.flip_flop import FlipFlop, make_example
from posjax.train_step import gradients


def text(tokens):
  return bytes(np.asarray(tokens, np.uint8)).decode()


def test_a_copy_example_is_formatted_for_a_decoder():
  x, targets, weights, pos, _ = Copy(symbols=3).example(np.random.default_rng(0), 4)
  string = x[1:5]
  assert set(text(string)) <= set('abc') and pos is None
  assert [*x] == [data.BOS, *string, data.SEP, *string]
  assert [*targets] == [*string, data.SEP, *string, data.EOS]
  assert [*weights] == [False] * 5 + [True] * 5


def test_an_encoder_has_a_slot_for_each_token_of_the_answer():
  x, targets, weights, pos, source = Copy(form='encoder').example(np.random.default_rng(0), 4)
  assert [*x[4:]] == [data.MASK] * 4 and [*targets[4:]] == [*x[:4]]
  assert [*weights] == [False] * 4 + [True] * 4 and pos is None and source is None
  assert Copy(form='encoder').largest(8) == 4


def test_the_largest_size_fills_a_row():
  opened = Copy(rows=2).open(None, 42, [42, 84])
  for length, size in ((42, 20), (84, 41)):
    weights = opened.tests['copy'].rows[length].weights
    assert (weights.sum(axis=1) == size + 1).all() and weights.shape == (2, length)
  sizes = {int(opened.train[i][0].weights.sum()) - 1 for i in range(2000)}
  assert sizes == {*range(1, 21)}


def test_an_exact_match_needs_the_entire_answer():
  rows = Generated(lambda rng: Copy().example(rng, 3), 'test', 3).rows(8, 8)
  outputs = np.eye(data.ALL)[rows.targets]
  outputs[1, -1] = np.roll(outputs[1, -1], 1)  # the end of one answer
  outputs[2, 0] = np.roll(outputs[2, 0], 1)  # a token of another row's question
  found = Copy().metrics(jnp.asarray(outputs), rows)
  mean = lambda name: float(np.average(found[name][0], weights=found[name][1]))
  assert mean('exact match') == pytest.approx(2 / 3)
  assert mean('token accuracy') == pytest.approx(1)  # EOS is no token of the answer


def test_reads_return_the_last_written_bit():
  shares = []
  for seed in range(50):
    example = make_example(np.random.default_rng(seed), pairs=60, ignore=0.5)
    line = text(example.x) + text(example.targets[-1:])
    assert (line[0], line[-2]) == ('w', 'r') and len(line) == 120
    assert text(example.targets) == line[1:]
    last = None
    for i in range(0, 120, 2):
      instruction, bit = line[i : i + 2]
      last = bit if instruction == 'w' else last
      assert instruction in 'wir' and bit in '01' and (instruction != 'r' or bit == last)
      assert example.weights[i] == (instruction == 'r')
    assert not example.weights[1::2].any()
    shares.append([line[0::2][1:-1].count(c) / 58 for c in 'wir'])
  assert np.mean(shares, axis=0) == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_the_floor_is_the_accuracy_of_guessing_the_majority_of_writes():
  rows = Generated(lambda rng: make_example(rng, pairs=20, ignore=0.6), 'test', 40).rows(40, 40)
  right = []
  for x, targets in zip(rows.stream.x, rows.targets, strict=True):
    written = []
    for instruction, bit in zip(text(x)[0::2], text(targets)[0::2], strict=True):
      if instruction == 'w':
        written.append(bit)
      elif instruction == 'r':
        ones, zeros = written.count('1'), written.count('0')
        right.append(0.5 if ones == zeros else float((ones > zeros) == (bit == '1')))
  floor = FlipFlop().floors(rows)['reads right']
  assert floor == pytest.approx(np.mean(right))
  assert 0.6 < floor < 0.95


@pytest.mark.parametrize('task', [Copy(), FlipFlop()], ids=['copy', 'flip_flop'])
def test_generated_rows_resume_bitwise(task):
  make = lambda seed: pipeline.batches(
    task.open(None, 42, [42]).train, name='made', length=42, answers=42, batch=4, seed=seed
  )
  run, other = make(0), make(1)
  first = next(run)
  assert (first.stream.x != next(other).stream.x).any()
  assert (first.weights <= (first.stream.segment_ids >= 0)).all() and first.weights.any()
  saved = run.get_state()
  want = [next(run) for _ in range(3)]
  resumed = make(0)
  resumed.set_state(saved)
  for batch in want:
    jax.tree.map(np.testing.assert_array_equal, batch, next(resumed))


def test_hashes_depend_on_arguments_that_change_the_examples():
  sha256 = lambda task: task.open(None, 42, [42]).sha256
  assert sha256(Copy(rows=2)) == sha256(Copy(rows=3)) != sha256(Copy(rows=2, symbols=8))
  assert sha256(Copy(rows=2)) != sha256(FlipFlop(rows=2))


# A task with one target per segment.


@dataclasses.dataclass(frozen=True)
class Count(tasks.Task):
  """The class of a string is the number of its tokens that are 1."""

  forms = ('encoder',)
  vocabulary = 2
  outputs = 4

  def answers(self, length):
    return length // 3

  def loss(self, outputs, batch):
    segments = batch.targets.shape[1]
    pooled_BUD = tasks.pool(outputs, batch.stream.segment_ids, segments)
    return super().loss(pooled_BUD, batch)


def count_example(rng):
  x = rng.integers(2, size=3).astype(np.int32)
  return Example(x, np.int32([x.sum()]), np.ones(1, bool))


def test_outputs_are_pooled_over_segments():
  rng = np.random.default_rng(0)
  x_BTD = rng.normal(size=(2, 6, 3))
  segment_ids = np.array([[0, 0, 1, 1, 1, -1], [0, 0, 0, 0, 0, 0]])
  got = tasks.pool(jnp.asarray(x_BTD), jnp.asarray(segment_ids), 3)
  for b in range(2):
    for u in range(3):
      own = x_BTD[b][segment_ids[b] == u]
      want = own.mean(axis=0) if len(own) else np.zeros(3)
      np.testing.assert_allclose(got[b, u], want, rtol=1e-6)


def test_packed_rows_of_a_classification_have_a_target_for_each_segment():
  task = Count()
  batch = next(pipeline.batches(
    Generated(count_example, 'train'), name='count', length=7, answers=task.answers(7), batch=4,
    seed=0,
  ))
  assert batch.stream.x.shape == (4, 7) and batch.targets.shape == (4, 2)
  assert (batch.stream.segment_ids == [[0, 0, 0, 1, 1, 1, -1]] * 4).all() and batch.weights.all()
  assert (batch.targets == batch.stream.x[:, :6].reshape(4, 2, 3).sum(axis=-1)).all()


def test_packed_classification_trains_like_unpacked_examples():
  config, _, _ = config_lib.load('rope', ['--config.model.form=encoder'])
  task, rng = Count(), np.random.default_rng(0)
  model = models.from_config(config, task)
  params = transformer.init(model, jax.random.key(0))
  assert params['head_DV'].shape == (64, 4)
  examples = [count_example(rng) for _ in range(4)]
  alone = Batch(
    Stream(
      np.stack([e.x for e in examples]), np.tile(np.arange(3)[:, None], (4, 1, 1)),
      np.zeros((4, 3), np.int32),
    ),
    np.stack([e.targets for e in examples]), np.ones((4, 1), bool),
  )
  packed = Batch(
    Stream(
      alone.stream.x.reshape(2, 6), alone.stream.pos.reshape(2, 6, 1),
      np.repeat([[0, 1]], 3, axis=1) * np.ones((2, 1), np.int32),
    ),
    alone.targets.reshape(2, 2), np.ones((2, 2), bool),
  )
  both = [
    gradients(task, model, params, jax.tree.map(jnp.asarray, batch), rng=jax.random.key(0),
              accumulate=1)
    for batch in (alone, packed)
  ]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), *both)


def test_metrics_of_segments_have_no_curve_by_position():
  of_segments, of_tokens = (np.full((3, n), 0.5) for n in (2, 7))
  found = {'loss': (of_segments, of_segments), 'accuracy': (of_tokens, of_tokens)}
  assert evaluate.by_position(Count(), found, 7) == {'accuracy': [0.5] * 7}


@pytest.mark.parametrize(('names', 'message'), [
  (dict(best='nats'), "best names 'nats': it must be one of loss"),
  (dict(shown=('loss', 'los')), "shown names 'los': did you mean loss? It must be one of loss"),
])
def test_a_metric_that_is_not_computed_is_refused(names, message):
  task = type('Misspelled', (Count,), names)()
  with pytest.raises(UserError, match=re.escape(message)):
    check_metrics(task, 12)


# Command lines.


def refused(line):
  with pytest.raises(UserError) as raised:
    state.build(run_lib.parse(['posjax', '--config=rope', *line.split()]).config)
  return str(raised.value)


@pytest.mark.parametrize(('line', 'message'), [
  ('--config.task.name=copi',
   f'task.name = copi: did you mean copy? It must be one of {", ".join(tasks.names())}'),
  ('--config.task.copy.symbols=8',
   '--config.task.copy.symbols: task.name is text, so that nothing would read it; set '
   '--config.task.name=copy'),
  ('--config.task.name=copy --config.task.copy.symbol=8',
   '--config.task.copy.symbol: no such key; did you mean task.copy.symbols?'),
  ('--config.task.name=copy --config.task.copy.symbols=1',
   'task.copy.symbols = 1: must be in [2, 26], the letters a to z'),
  ('--config.task.name=flip_flop --config.task.flip_flop.ignore=1',
   'task.flip_flop.ignore = 1.0: must be in [0, 1)'),
  ('--config.task.text.stride=65', 'task.text.stride = 65: must be at most train.length = 64'),
  ('--config.model.form=encoder',
   'model.form = encoder: task.name is text, which supports decoder; auto selects that'),
])
def test_wrong_command_lines_of_tasks_are_refused(line, message):
  assert refused(line) == message


def test_arguments_without_effect_on_weights_do_not_change_the_run_name():
  name = lambda line: run_lib.parse(['posjax', '--config=rope', *line.split()]).name
  assert name('--config.task.text.stride=16') == name('')
  copy = '--config.task.name=copy'
  assert name(f'{copy} --config.task.copy.rows=8') == name(copy) != name('')
  assert name(f'{copy} --config.task.copy.symbols=8') != name(copy)


def test_tasks_are_found_and_documented():
  assert {'copy', 'flip_flop', 'text'} <= {*tasks.names()}
  for name in tasks.names():
    meanings = tasks.meanings(name)
    assert {*meanings} == {*tasks.arguments(tasks.find(name))} and all(meanings.values())
