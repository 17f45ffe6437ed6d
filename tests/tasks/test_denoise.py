"""Denoising: texts restored from source and target, rows, exact resume, refused arguments."""

import collections
import itertools

import jax
import numpy as np
import pytest

from posjax import run as run_lib
from posjax import state
from posjax.data import corruption, pipeline
from posjax.data.tokenizer import BYTES
from posjax.errors import UserError
from posjax.tasks.denoise import KINDS, Denoise, corrupt

FORMS = ('encoder_decoder', 'decoder')
BOTH = [*itertools.product(KINDS, FORMS)]
EOS, SEP, BOS, MASK = BYTES.eos, BYTES.sep, BYTES.bos, BYTES.mask


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  folder = tmp_path_factory.mktemp('texts')
  for number in range(3):
    lines = '\n'.join(f'{number}: line {i} follows line {i - 1}' for i in range(1, 90))
    (folder / f'{number}.txt').write_text(lines)
  return {'corpus': f'text:{folder}/*.txt'}


def open_task(corpus, kind, form, length=24, lengths=(24, 48)):
  task = Denoise(kind=kind, form=form, tokens=200, validation_tokens=100)
  task.check(length)
  return task, task.open(corpus, length, lengths)


def read(train, seed=0, length=24):
  return pipeline.batches(train, name='d', length=length, answers=length, batch=4, seed=seed)


def restore(kind, source, target):
  """Returns the text, by loops, from source and target as lists without special tokens."""
  if kind == 'prefix':
    return source + target
  if kind == 'bart':
    return target
  fillings = iter(' '.join(map(str, target)).split(str(MASK))[1:])
  text = []
  for token in source:
    text += [*map(int, next(fillings).split())] if token == MASK else [token]
  assert next(fillings, None) is None
  return text


def examples(batch, form):
  """Returns (source, target) of each segment, by its layout, without special tokens."""
  found = []
  for row, ids in enumerate(batch.stream.segment_ids):
    for segment in range(ids.max() + 1):
      own = ids == segment
      x, targets = batch.stream.x[row, own].tolist(), batch.targets[row, own].tolist()
      assert x[0] == BOS and x[1:] == targets[:-1] and targets[-1] == EOS
      if form == 'decoder':
        end = x.index(SEP)
        source, target = x[1:end], x[end + 1 :]
      else:
        *source, last = batch.source.x[row, batch.source.segment_ids[row] == segment].tolist()
        target = x[1:]
        assert last == EOS
      learned = batch.weights[row, own]
      assert learned.tolist() == [False] * (len(x) - len(target) - 1) + [True] * (len(target) + 1)
      found.append((source, target))
  return found


@pytest.mark.parametrize(('kind', 'form'), BOTH)
def test_each_epoch_restores_every_text(corpus, kind, form):
  task, opened = open_task(corpus, kind, form)
  size = task.largest(24)
  want, documents = collections.Counter(), opened.train.documents
  for document in documents:
    text = document.ids.tolist()
    want.update(tuple(text[i : i + size]) for i in range(0, len(text), size))
  pairs = itertools.chain.from_iterable(examples(batch, form) for batch in read(opened.train))
  sources = collections.defaultdict(list)
  for source, target in itertools.islice(pairs, 3 * want.total()):
    sources[tuple(restore(kind, source, target))].append(tuple(source))
  # Packing delays some examples: three times as many as in an epoch hold every text twice.
  assert {*sources} == {*want} and min(map(len, sources.values())) >= 2
  long = [len({*own}) / len(own) for text, own in sources.items() if len(text) > 6]
  assert np.mean(long) > 0.7  # each epoch has another corruption


@pytest.mark.parametrize(('kind', 'form'), BOTH)
def test_the_longest_text_that_fits_is_held_out(corpus, kind, form):
  task, opened = open_task(corpus, kind, form)
  for length, batch in opened.tests['denoise'].rows.items():
    assert batch.stream.x.shape[1] == length
    size = task.largest(length)
    assert task.room(size) <= length < task.room(size + 1)
    pairs = examples(batch, form)
    assert len(pairs) == len(batch.targets)
    assert {len(restore(kind, *pair)) for pair in pairs} == {size}
    for i, (source, target) in enumerate(pairs):  # the same in every run
      own = corrupt(
        kind, np.array(restore(kind, source, target)), np.random.default_rng((0, i)), MASK
      )
      assert (own[0].tolist(), own[1].tolist()) == (source, target)


def test_spans_have_the_counts_of_t5():
  rng = np.random.default_rng(0)
  for size in (1, 2, 20, 100, 568):
    source, target = corrupt('spans', rng.integers(256, size=size), rng, MASK)
    noise, spans = corruption.span_counts(size)
    assert (source == MASK).sum() == (target == MASK).sum() == spans
    assert (len(source), len(target)) == (size - noise + spans, noise + spans)
    assert not ((source[1:] == MASK) & (source[:-1] == MASK)).any()  # spans do not touch


def test_every_length_of_a_prefix_is_equally_likely():
  rng, ids = np.random.default_rng(0), np.arange(10)
  found = collections.Counter(len(corrupt('prefix', ids, rng, MASK)[0]) for _ in range(5000))
  assert {*found} == {*range(10)}
  assert all(abs(count - 500) < 5 * (5000 * 0.1 * 0.9) ** 0.5 for count in found.values())


@pytest.mark.parametrize('form', FORMS)
def test_denoising_batches_resume_bitwise(corpus, form):
  _, opened = open_task(corpus, 'bart', form)
  run = read(opened.train)
  for _ in range(4):
    next(run)
  saved = run.get_state()
  want = [next(run) for _ in range(4)]
  resumed = read(opened.train)
  resumed.set_state(saved)
  for batch in want:
    jax.tree.map(np.testing.assert_array_equal, batch, next(resumed))


def test_only_spans_generate_masks():
  for kind in KINDS:
    never = Denoise(kind=kind).never
    assert (MASK in never) == (kind != 'spans')
    assert {BOS, SEP} <= {*never} and EOS not in never


@pytest.mark.parametrize(('argument', 'message'), [
  ('task.denoise.kind=span',
   'task.denoise.kind = span: did you mean spans? It must be one of spans, prefix, bart'),
  ('task.denoise.validation_tokens=0', 'task.denoise.validation_tokens = 0: must be positive'),
  ('train.length=1', 'train.length = 1: must be at least 2'),
])
def test_wrong_arguments_are_refused(argument, message):
  with pytest.raises(UserError) as raised:
    state.build(run_lib.parse(['posjax', '--config=tasks/denoise', f'--config.{argument}']).config)
  assert str(raised.value) == message
