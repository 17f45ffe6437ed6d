"""Pairs: layouts by hand in both forms, rows, what is left out, and requests for generation."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.data import pipeline
from posjax.data.tokenizer import BYTES, EOS, PAD
from posjax.errors import UserError
from posjax.tasks.copy import Copy
from posjax.tasks.core.pairs import lay_out
from posjax.tasks.translate import Translate

WORDS = 'red blue green small large old new door window house'.split()
FORMS = 'encoder_decoder', 'decoder'


def reversed_words(number):
  """Returns a pair: up to five words, and the same words backwards."""
  rng = np.random.default_rng(number)
  words = rng.choice(WORDS, size=rng.integers(1, 6))
  return ' '.join(words), ' '.join(words[::-1])


@pytest.fixture
def corpus(tmp_path):
  pairs = map(reversed_words, range(200))
  lines = (json.dumps(dict(source=source, target=target)) for source, target in pairs)
  (tmp_path / 'pairs.jsonl').write_text('\n'.join(lines))
  return dict(corpus=f'jsonl:{tmp_path}/*.jsonl', fields=('source', 'target'))


def ids(text):
  return [{'<': 256, '>': 257, '|': 258}.get(c, ord(c)) for c in text]


@pytest.mark.parametrize(('form', 'x', 'targets', 'source'), [
  ('encoder_decoder', '<yes', 'yes>', 'oui!>'), ('decoder', '<oui!|yes', 'oui!|yes>', None),
])
def test_an_example_has_a_loss_on_its_target_and_eos(form, x, targets, source):
  example = lay_out(form, BYTES, BYTES.encode(b'oui!'), BYTES.encode(b'yes'))
  assert [*example.x] == ids(x) and [*example.targets] == ids(targets)
  assert [*example.targets[example.weights]] == ids('yes>')
  assert example.weights[-4:].all() and example.weights.sum() == 4
  assert example.source is None if source is None else [*example.source] == ids(source)


def text(tokens):
  return BYTES.decode(tokens).decode()


@pytest.mark.parametrize('form', FORMS)
def test_each_segment_of_a_packed_row_is_one_pair(corpus, form):
  """A target token sees the source tokens of its segment: both must be of one record."""
  task = Translate(form=form)
  rows = pipeline.batches(
    task.open(corpus, 64, [64]).train, name='pairs', length=64, answers=64, batch=4, seed=0
  )
  found = 0
  for batch in (next(rows) for _ in range(8)):
    for i, segments in enumerate(batch.stream.segment_ids):
      for own in range(segments.max() + 1):
        here = segments == own
        target = text(batch.targets[i][here & batch.weights[i]])
        if form == 'decoder':
          source = text(batch.stream.x[i][here])[: -len(target)]
        else:
          source = text(batch.source.x[i][batch.source.segment_ids[i] == own])
        assert source.split() == target.split()[::-1] and source
        found += 1
  assert found > 32  # rows


def test_a_pair_fits_if_each_of_its_rows_does(corpus):
  record = ('a' * 7, 'b' * 5)
  fits = lambda form, length: Translate(form=form).example(record, length) is not None
  assert fits('encoder_decoder', 8) and not fits('encoder_decoder', 7)  # source, EOS
  assert fits('decoder', 14) and not fits('decoder', 13)  # BOS, source, SEP, target
  assert Translate(form='encoder_decoder').example(record[::-1], 8)
  assert not Translate(form='encoder_decoder').example(record[::-1], 7)  # BOS, target


@pytest.mark.parametrize('form', FORMS)
def test_pairs_that_do_not_fit_are_left_out_and_counted(corpus, form):
  task = Translate(form=form)
  opened = task.open(corpus, 16, [16, 32])
  # Of 10 test records, by their number: the same in every run.
  room = lambda source, target: max(map(len, (source, target))) + 1
  if form == 'decoder':
    room = lambda source, target: len(source) + len(target) + 2
  sizes = [room(*reversed_words(number)) for number in range(200)]
  test = opened.tests['translate']
  kept = [len(test.rows[n].weights) for n in (16, 32)]
  assert 0 < kept[0] < kept[1] <= 10
  assert test.title == (
    '10 of 10 test pairs, without those that do not fit into a row: '
    f'{kept[0]} at 16, {kept[1]} at 32 tokens'
  )
  trained = sum(len(document) for document in opened.train)
  everything = trained + len(opened.validation.weights) + kept[0]
  assert everything == sum(size <= 16 for size in sizes) < 200


def test_training_records_that_are_too_long_are_skipped(corpus):
  """Packing reads the first example of the first document, so that one must not be empty."""
  documents = Translate(form='decoder').open(corpus, 20, [20]).train
  sizes = [len(document) for document in documents]
  assert len(sizes) < 180 and sizes[0] == 1 and 0 < sizes.count(0) < len(sizes)
  rows = pipeline.batches(documents, name='pairs', length=20, answers=20, batch=4, seed=0)
  kept = {text(documents[i][0].targets) for i in range(len(sizes)) if sizes[i]}
  found = set()
  for batch in (next(rows) for _ in range(3 * sum(sizes) // 4)):
    for targets, segments in zip(batch.targets, batch.stream.segment_ids, strict=True):
      found |= {text(targets[segments == own]) for own in range(segments.max() + 1)}
  assert found == kept


def test_the_most_rows_of_a_test_are_spread_over_its_records(corpus):
  few, all_rows = (Translate(form='decoder', rows=n).open(corpus, 99, [99]) for n in (4, 512))
  few, all_rows = (opened.tests['translate'] for opened in (few, all_rows))
  assert few.title.startswith('4 of 10 test pairs')
  assert (few.rows[99].targets == all_rows.rows[99].targets[[0, 3, 6, 9]]).all()


@pytest.mark.parametrize('form', FORMS)
def test_requests_hold_the_texts_of_the_test(corpus, form):
  task = Translate(form=form)
  opened = task.open(corpus, 80, [80, 160])
  requests = task.requests(opened, 3)
  assert len(requests) == 3 and len(task.requests(opened, 50)) == 10
  for request in requests:
    assert request.reference.split() == request.text.split()[::-1] and request.pos is None
    prompt, source = task.prompt(request.text.encode())
    np.testing.assert_array_equal(request.prompt, prompt)
    np.testing.assert_array_equal(request.source, source)
    assert ((form == 'decoder') == (request.source is None)) and prompt[0] == BYTES.bos


def test_an_answer_ends_before_eos():
  task = Translate(form='decoder')
  assert task.answer(np.array([*b'yes', EOS, *b'no', EOS])) == 'yes'
  assert task.answer(np.array([*b'yes'])) == 'yes'
  assert task.answer(np.array([*'é'.encode()[:1]])) == '\ufffd'


def test_other_tokenizers_have_their_own_special_tokens(corpus):
  """Of a tokenizer with 300 ids, the special tokens are 300 to 304."""
  shifted = dataclasses.replace(
    BYTES, name='shifted', size=300, encode=lambda text: BYTES.encode(text) + 44,
    decode=lambda ids: BYTES.decode(np.where(ids < 300, ids - 44, PAD)),
  )
  task = Translate(form='decoder', tokenizer=shifted)
  assert task.vocabulary == 305
  example = task.example(('oui', 'yes'), 16)
  assert [*example.x] == [300, *(44 + b for b in b'oui'), 302, *(44 + b for b in b'yes')]
  (request,) = task.requests(task.open(corpus, 80, [80]), 1)
  assert request.reference.split() == request.text.split()[::-1]


# Strings have the same layouts.


def test_a_copied_string_fills_the_rows_of_an_encoder_decoder():
  task = Copy(rows=3, form='encoder_decoder')
  rows = task.open({}, 12, [12]).tests['copy'].rows[12]
  letters = rows.source.x[:, :-1]
  assert letters.shape == (3, 11) and (rows.source.x[:, -1] == EOS).all()
  assert (rows.targets[:, :-1] == letters).all() and (rows.targets[:, -1] == EOS).all()
  assert (rows.stream.x[:, 1:] == letters).all() and rows.weights.all()
  request = task.requests(task.open({}, 12, [12]), 1)[0]
  assert request.text == request.reference == text(letters[0])


@pytest.mark.parametrize('form', FORMS)
def test_the_loss_of_a_certain_and_right_model_is_zero(form):
  task = Copy(rows=3, form=form)
  rows = task.open({}, 12, [12]).tests['copy'].rows[12]
  sure = 100 * jax.nn.one_hot(rows.targets, task.vocabulary)
  found = task.metrics(jnp.asarray(sure), rows)
  mean = lambda name: float(np.average(found[name][0], weights=found[name][1]))
  assert (mean('exact match'), mean('token accuracy')) == (1, 1)
  assert mean('nats/token') == pytest.approx(0, abs=1e-6)


def test_generated_strings_have_no_other_tokenizer():
  other = dataclasses.replace(BYTES, name='words.json')
  with pytest.raises(ValueError, match=r'^data\.tokenizer = words\.json: copy has no text; '):
    Copy(tokenizer=other).check(42)


# Errors.


@pytest.mark.parametrize(('changes', 'length', 'message'), [
  (dict(fields=('source',)), 64, '^data.fields = source: .*--config.data.fields=source,target'),
  ({}, 3, 'none of the validation pairs fits into a row of 3 tokens; raise train.length$'),
])
def test_records_that_cannot_be_used_are_refused(corpus, changes, length, message):
  with pytest.raises(UserError, match=message):
    Translate(form='decoder').open(corpus | changes, length, [length])
