"""Tagging: which token has the tag of a word, exact spans, the guess, and refused records."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.data import BOS
from posjax.errors import UserError
from posjax.tasks.core import entities
from posjax.tasks.tag import Tag, bio

NAMES = ['O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER']  # in the order of the ids


def corpus(path, records, fields=('tokens', 'tags')):
  lines = (json.dumps(dict(zip(fields, record, strict=True))) for record in records)
  path.write_text('\n'.join(lines))
  return dict(corpus=f'jsonl:{path}', fields=fields)


@pytest.mark.parametrize(('form', 'spaces', 'text', 'marked'), [
  ('encoder', True, 'ab é c', '*. *.. *.'),
  ('decoder', True, 'ab é c', '.* ..* .*'),
  ('encoder', False, 'abéc', '*. *. *'),
  ('decoder', False, 'abéc', '.* .* *'),
])
def test_one_token_of_each_word_has_its_tag(form, spaces, text, marked):
  """In an encoder the first byte, in a decoder the last; a space belongs to the next word."""
  task = Tag(classes=3, bio=False, spaces=spaces, form=form)
  record = ('ab', 'é', 'c'), ('x', 'y', 'z')
  x, targets, weights, *_ = task.example(record, {'x': 2, 'y': 0, 'z': 1}, 20)
  assert x[0] == BOS and bytes(x[1:].astype(np.uint8)).decode() == text
  assert ''.join('.*'[int(w)] for w in weights) == f'.{marked.replace(" ", "")}'
  assert targets[weights].tolist() == [2, 0, 1]


@pytest.mark.parametrize(('length', 'words'), [(3, 1), (5, 1), (6, 2), (7, 2), (8, 3), (9, 3)])
def test_a_row_ends_after_the_last_word_that_fits(length, words):
  record = ('ab', 'é', 'c'), ('x', 'y', 'z')  # 1 for BOS, then 2, 3 and 2 tokens
  x, _, weights, *_ = Tag(bio=False, form='encoder').example(record, dict(x=0, y=1, z=2), length)
  assert weights.sum() == words and len(x) == [3, 6, 8][words - 1] <= length


def laid_out(rng, sentences, repeats=3):
  """Returns tags [B, T], a mask of the tagged tokens, and sentence ids; two sentences in a row.

  Each word has one tagged token, and up to two others before and after it, which have false tags.
  """
  rows = []
  for pair in zip(sentences[0::2], sentences[1::2], strict=True):
    row = []
    for segment, sentence in enumerate(pair):
      row.append((9, False, segment))
      for tag in sentence:
        before, after = rng.integers(repeats, size=2)
        others = [(int(rng.integers(5)), False, segment) for _ in range(before + after)]
        row += [*others[:before], (tag, True, segment), *others[before:]]
    rows.append(row)
  length = max(map(len, rows)) + 2
  rows = [row + [(9, False, -1)] * (length - len(row)) for row in rows]
  columns = np.array(rows)
  return columns[..., 0], columns[..., 1].astype(bool), columns[..., 2]


def test_exact_spans_equal_those_of_seqeval():
  """Random tags, most of them ill-formed; predictions share half of the true tags."""
  metrics = pytest.importorskip('seqeval.metrics')
  rng = np.random.default_rng(0)
  true = [rng.integers(5, size=rng.integers(1, 12)).tolist() for _ in range(200)]
  false = [[t if rng.random() < 0.7 else int(rng.integers(5)) for t in own] for own in true]
  layout = lambda sentences: laid_out(np.random.default_rng(1), sentences)
  (true_BT, tagged_BT, ids_BT), (predicted_BT, *_) = layout(true), layout(false)
  found = jax.jit(entities.count)(*map(jnp.asarray, (predicted_BT, true_BT, tagged_BT, ids_BT)))
  hits, predicted, spans = (int(mask.sum()) for mask in found)
  named = lambda sentences: [[NAMES[tag] for tag in own] for own in sentences]
  ours = 2 * hits / (predicted + spans)
  assert ours == pytest.approx(metrics.f1_score(named(true), named(false)))
  assert hits / predicted == pytest.approx(metrics.precision_score(named(true), named(false)))
  assert hits / spans == pytest.approx(metrics.recall_score(named(true), named(false)))
  assert 0.2 < ours < 0.8


@pytest.mark.parametrize(('tags', 'spans'), [
  ('O B-LOC I-LOC O', [(1, 3)]),
  ('I-LOC I-LOC B-LOC B-LOC', [(0, 2), (2, 3), (3, 4)]),
  ('B-LOC I-PER I-PER O I-LOC', [(0, 1), (1, 3), (4, 5)]),
])
def test_spans_by_hand(tags, spans):
  ids = jnp.array([[NAMES.index(tag) for tag in tags.split()]])
  starts, ends = entities.spans(ids, jnp.ones_like(ids, bool), jnp.zeros_like(ids))
  found = [(i, int(ends[0, i])) for i in range(ids.shape[1]) if starts[0, i]]
  assert found == spans


def sentences(count=40):
  """Tagged sentences: a is O, c is B-X, d is I-X; b is O or B-X."""
  tags = {'a': 'O', 'c': 'B-X', 'd': 'I-X'}
  for i in range(count):
    words = ('a', 'b', 'cd'[i % 2], 'e')[i % 3 :]
    yield words, tuple(tags.get(word, 'O' if i % 3 else 'B-X') for word in words)


def test_the_guess_is_the_usual_tag_of_a_word(tmp_path):
  task = Tag(classes=3, rows=30, form='encoder', spaces=False)
  opened = task.open(corpus(tmp_path / 'words.jsonl', list(sentences())), 8, [8])
  counts = {}
  for document in opened.train:
    x, targets, weights, *_ = document[0]
    for word, tag in zip(x[weights], targets[weights], strict=True):
      counts.setdefault(int(word), []).append(int(tag))
  rows, right = opened.tests['sentences'].rows[8], []
  for x, tag in zip(rows.stream.x[rows.weights], rows.targets[rows.weights], strict=True):
    right.append(max({*counts[int(x)]}, key=counts[int(x)].count) == tag)
  floor = opened.tests['sentences'].floors[8]
  assert floor['accuracy'] == pytest.approx(np.mean(right)) and 0 < np.mean(right)
  assert set(floor) == {'accuracy', 'entity F1'}


def test_metrics_of_true_tags_are_perfect(tmp_path):
  for bio_tags, names in ((True, {'accuracy', 'entity F1'}), (False, {'accuracy'})):
    task = Tag(classes=3, form='encoder', bio=bio_tags)
    opened = task.open(corpus(tmp_path / 'words.jsonl', list(sentences())), 8, [8])
    rows = opened.tests['sentences'].rows[8]
    outputs = 50 * np.eye(3, dtype=np.float32)[rows.targets]
    found = task.metrics(jnp.asarray(outputs), rows)
    summary = task.summary({k: float(np.average(v, weights=w)) for k, (v, w) in found.items()})
    assert set(task.shown) == names and all(summary[name] == 1 for name in names)
    assert summary['nats/word'] < 1e-6


def test_bio_tags_are_numbered_by_kind_even_if_one_is_missing():
  tags = bio(['B-LOC', 'I-LOC', 'I-PER', 'O'], 'made')
  assert tags == NAMES
  for i, j in itertools.combinations(range(1, 5), 2):
    same = bool(entities.kind(jnp.int32(i)) == entities.kind(jnp.int32(j)))
    assert same == (NAMES[i][2:] == NAMES[j][2:])


@pytest.mark.parametrize(('record', 'message'), [
  ((['a'], ['O', 'O']), 'has 1 words and 2 tags: a'),
  (([], []), 'has 0 words and 0 tags'),
  (('a b', 'O O'), 'the field tokens has a string; it must be a list'),
  ((['a'], ['NN']), 'the tag NN is not O, B-KIND or I-KIND; with --config.task.tag.bio=false'),
  ((['a'], ['B-Y']), 'classes = 3: .* has 5 tags; set --config.task.tag.classes=5'),
])
def test_records_that_do_not_fit_are_refused(tmp_path, record, message):
  made = corpus(tmp_path / 'words.jsonl', [*sentences(), record])
  with pytest.raises(UserError, match=message):
    Tag(classes=3, form='encoder').open(made, 8, [8])
