"""Dialogue: the replies that are learned, positions of both kinds, and dialogues that are cut."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from posjax import config as config_lib
from posjax.batch import padded
from posjax.data import pipeline
from posjax.data.tokenizer import BYTES, EOS, SEP
from posjax.errors import UserError
from posjax.models import build, transformer
from posjax.models.transformer import outputs_of
from posjax.tasks.core.pairs import lay_out
from posjax.tasks.dialogue import Dialogue

TURNS = ('hi', 'hello', 'why', 'so', 'bye')


def text(tokens):
  return BYTES.decode(tokens).decode()


@pytest.fixture
def corpus(tmp_path):
  path = tmp_path / 'dialogues.jsonl'
  turns = [[f'question {n}', f'answer {n}', f'more {n}?', f'yes {n}'] for n in range(100)]
  path.write_text('\n'.join(json.dumps(dict(turns=turn[: 2 + 2 * (len(turn[0]) % 2)], topic=''))
                            for turn in turns))
  return dict(corpus=f'jsonl:{path}', fields=('turns',))


def test_a_dialogue_of_two_turns_is_laid_out_as_a_pair():
  got = Dialogue(form='decoder').example((TURNS[:2],), 64)
  want = lay_out('decoder', BYTES, *map(BYTES.encode, (b'hi', b'hello')))
  for mine, other in zip(got, want, strict=True):
    np.testing.assert_array_equal(mine, other)


def test_only_replies_have_a_loss_and_the_last_turn_without_a_reply_is_dropped():
  example = Dialogue().example((TURNS,), 64)
  assert text(example.targets) == 'hihellowhyso'
  assert text(example.targets[example.weights]) == 'helloso'
  assert [*np.flatnonzero(example.targets == EOS)] == [8, 15]
  assert example.weights[[8, 15]].all()
  assert not example.weights[example.targets == SEP].any()
  assert [*example.targets[:-1]] == [*example.x[1:]]


def test_positions_restart_in_each_turn():
  example = Dialogue(positions='turn').example((TURNS,), 64)
  assert [*example.pos[:, 0]] == [*range(3), *range(6), *range(4), *range(3)]
  before_turns = example.x[example.pos[:, 0] == 0]
  assert [*before_turns] == [BYTES.bos, SEP, EOS, SEP]
  running = Dialogue().example((TURNS,), 64)
  assert running.pos is None
  for mine, other in zip(example._replace(pos=None), running, strict=True):
    np.testing.assert_array_equal(mine, other)


def test_a_prompt_has_the_positions_of_training():
  task = Dialogue(positions='turn')
  example, (prompt, _) = task.example((TURNS,), 64), task.prompt(TURNS[0].encode())
  np.testing.assert_array_equal(prompt, example.x[: len(prompt)])
  pos = task.prompt_positions(prompt)
  np.testing.assert_array_equal(pos, example.pos[: len(prompt)])
  np.testing.assert_array_equal(task.position_after(pos), example.pos[len(prompt)])
  assert Dialogue().prompt_positions(prompt) is None


@pytest.mark.parametrize(('length', 'replies'), [
  (8, None), (9, 'hello'), (15, 'hello'), (16, 'helloso'), (99, 'helloso'),
])
def test_a_dialogue_is_cut_after_the_last_reply_that_fits(length, replies):
  example = Dialogue().example((TURNS,), length)
  assert (example and text(example.targets[example.weights])) == replies
  assert example is None or len(example.x) <= length


def test_packed_rows_carry_the_places_in_turns(corpus):
  task = Dialogue(positions='turn', form='decoder')
  batch = next(pipeline.batches(
    task.open(corpus, 96, [96]).train, name='dialogue', length=96, answers=96, batch=4, seed=0
  ))
  starts = np.isin(batch.stream.x, [BYTES.bos, SEP, EOS]) & (batch.stream.segment_ids >= 0)
  for x, pos, starts_T in zip(batch.stream.segment_ids, batch.stream.pos, starts, strict=True):
    since = np.arange(96) - np.maximum.accumulate(np.where(starts_T, np.arange(96), 0))
    assert (pos[x >= 0, 0] == since[x >= 0]).all() and x.max() >= 1


def test_requests_ask_for_the_last_reply(corpus):
  for positions in ('running', 'turn'):
    task = Dialogue(positions=positions, form='decoder')
    opened = task.open(corpus, 96, [96])
    for request in task.requests(opened, 4):
      number = request.text.split()[1][:2].rstrip('am')
      want = 'yes' if 'more' in request.text else 'answer'
      assert request.reference == f'{want} {number}'
      assert request.prompt[-1] == SEP and request.source is None
      assert request.pos[-1, 0] == (len(request.prompt) - 1 if positions == 'running' else 0) \
        if request.pos is not None else positions == 'running'


def test_both_positions_have_the_same_test(corpus):
  """So that a sweep may compare them."""
  one, two = (Dialogue(positions=p, form='decoder').open(corpus, 64, [64, 128])
              for p in ('running', 'turn'))
  assert one.sha256 == two.sha256
  assert one.tests['dialogue'].title == two.tests['dialogue'].title
  for n in (64, 128):
    mine, other = (opened.tests['dialogue'].rows[n] for opened in (one, two))
    assert (mine.targets == other.targets).all() and (mine.weights == other.weights).all()


def test_a_model_reads_the_places_in_turns():
  """The first turn has the same outputs; a token of the reply is at other distances from it."""
  config, _, _ = config_lib.load('rope', ['--config.task.name=dialogue', '--config.model.layers=1'])
  task = Dialogue(positions='turn', form='decoder')
  assert Dialogue().counts and not task.counts
  model = build.from_config(config, task)
  params = transformer.init(model, jax.random.key(0))
  example = task.example((TURNS[:2],), 16)
  running = example._replace(pos=np.arange(9, dtype=np.int32)[:, None])
  own, other = outputs_of(model, params, padded([example, running], 9, 9), relative=task.counts)
  np.testing.assert_allclose(own[:3], other[:3], rtol=1e-5, atol=1e-5)
  assert np.abs(own - other)[3:].max(axis=-1).min() > 0.01


@pytest.mark.parametrize(('changes', 'message'), [
  (dict(fields=('turns', 'turns')), '^data.fields = turns,turns: .*fields=turns'),
  (dict(fields=('topic',)), ': the field topic has a string; it must be a list$'),
])
def test_records_that_cannot_be_used_are_refused(corpus, changes, message):
  with pytest.raises(UserError, match=message):
    Dialogue(form='decoder').open(corpus | changes, 64, [64])


def test_positions_are_running_or_of_turns():
  with pytest.raises(ValueError, match='^positions = turns: did you mean turn[?]'):
    dataclasses.replace(Dialogue(), positions='turns').check(64)
