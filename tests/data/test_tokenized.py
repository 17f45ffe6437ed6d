"""Tokenized documents in the cache, pieces of them, and the task text in tokens."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import data, run_summary, state, tasks
from posjax.data import tokenized
from posjax.data.corpus import SPLITS, Corpus, digest
from posjax.data.tokenizer import BYTES
from posjax.data.windows import non_overlapping
from posjax.errors import UserError
from posjax.tasks.text import Text

pytest.importorskip('tokenizers')

from posjax.data.tokenizer_file import LETTERS, parse  # noqa: E402

MERGES = [('t', 'h'), ('th', 'e'), ('Ġ', 'the'), ('o', 'r'), ('Ġ', 'a'), ('Ċ', 'Ċ')]


def file_of(merges=()):
  """Returns a byte-level BPE as JSON; a byte's id is its value, and merge i has the id 256 + i."""
  vocabulary = LETTERS | {a + b: 256 + i for i, (a, b) in enumerate(merges)}
  before = dict(type='ByteLevel', add_prefix_space=False, trim_offsets=True, use_regex=True)
  spec = {
    'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [], 'normalizer': None,
    'pre_tokenizer': before, 'post_processor': None, 'decoder': before,
    'model': {'type': 'BPE', 'vocab': vocabulary, 'merges': [' '.join(pair) for pair in merges]},
  }
  return json.dumps(spec)


def bpe(merges=()):
  return parse('bpe.json', file_of(merges).encode())


def texts(count, size):
  """Returns texts of `size` words."""
  rng = np.random.default_rng(count)
  words = ['the', 'other', 'a', 'for', 'théâtre', 'x\n\ny', 'more\nor', '你好']
  return [' '.join(rng.choice(words, size)).encode() for _ in range(count)]


def corpus_of(documents, splits=SPLITS):
  parts = dict.fromkeys(SPLITS, documents)
  sha256 = digest(('', text) for text in documents)
  return Corpus('memory', len(documents), sum(map(len, documents)), sha256, splits, parts)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'caches'))
  return tmp_path / 'caches/posjax/tokenized'


def test_documents_are_their_ids_from_the_cache(cache):
  own, documents = bpe(MERGES), [*texts(3, 50), b'', b'\xff\xfe a']
  corpus = corpus_of(documents)
  found = tokenized.documents(corpus, 'train', own)
  assert len(found) == 5
  for ids, text in zip(found, documents, strict=True):
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, own.encode(text))
    assert own.decode(ids) == text
  assert len(found[0]) < 0.8 * len(documents[0])
  [folder] = cache.iterdir()
  assert folder.name == f'{corpus.sha256[:16]}-{own.sha256[:16]}'
  assert [path.name for path in folder.iterdir()] == ['train.array_record']


def test_text_is_tokenized_once(monkeypatch):
  own, calls = bpe(MERGES), []
  counted = lambda text: calls.append(text) or own.encode(text)
  one = dataclasses.replace(own, encode=counted)
  first, again = (tokenized.documents(corpus_of([b'a the']), 'train', one) for _ in range(2))
  assert calls == [b'a the'] and [*first[0]] == [*again[0]]


def test_each_part_of_a_dataset_has_its_own_file(cache):
  splits = ('train[:95%]', 'train[95%:]', 'test')
  for split in SPLITS:
    tokenized.documents(corpus_of([b'a'], splits), split, bpe())
  [folder] = cache.iterdir()
  assert len([*folder.iterdir()]) == 3


def test_an_interruption_leaves_no_file(cache):
  def fail(text):
    raise KeyboardInterrupt

  own = dataclasses.replace(bpe(), encode=fail)
  with pytest.raises(KeyboardInterrupt):
    tokenized.documents(corpus_of([b'a']), 'train', own)
  [folder] = cache.iterdir()
  assert [*folder.iterdir()] == []


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
  (tmp_path / 'file').touch()
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
  with pytest.raises(UserError, match='XDG_CACHE_HOME names another folder for tokenized text'):
    tokenized.documents(corpus_of([b'a']), 'train', bpe())


@pytest.mark.parametrize('part', [1, 7, 100])
def test_parts_of_a_long_document_have_the_ids_of_the_whole(part, monkeypatch):
  own, [text] = bpe(MERGES), texts(1, 400)
  monkeypatch.setattr(tokenized, 'PART', part)
  parts = [*tokenized.parts(text)]
  assert b''.join(parts) == text and len(parts) > 3
  ids = np.concatenate([own.encode(part) for part in parts])
  np.testing.assert_array_equal(ids, own.encode(text))


def test_bytes_are_read_as_they_are(cache):
  documents = texts(2, 9)
  found = tokenized.documents(corpus_of(documents), 'test', BYTES)
  assert [ids.tobytes() for ids in found] == documents
  assert found[0].dtype == np.uint8 and not cache.exists()


@pytest.mark.parametrize('length', [1, 5, 64])
@pytest.mark.parametrize('merges', [(), MERGES])
def test_every_token_of_a_document_is_a_target_once(length, merges):
  own, documents = bpe(merges), texts(4, 40)
  found = tokenized.documents(corpus_of(documents), 'train', own)
  for pieces, text in zip(tokenized.Pieces.of_all(found, length, own), documents, strict=True):
    examples = [pieces[i] for i in range(len(pieces))]
    ids = own.encode(text)
    np.testing.assert_array_equal(np.concatenate([one.targets for one in examples]), ids)
    np.testing.assert_array_equal(
      np.concatenate([one.x for one in examples]), [own.bos, *ids[:-1]]
    )
    assert all(one.weights.all() and one.x.dtype == np.int32 for one in examples)
    assert [len(one.x) for one in examples[:-1]] == [length] * (len(examples) - 1)


def opened(own, documents=None, **sections):
  """Returns the task text with tests at 8 and 16 tokens, and its test rows."""
  task = tasks.build('text', 8, tokenizer=own, text=dict(tokens=2000, stride=4, windows=20))
  return task, *task.tests(corpus_of(documents or texts(6, 200)), [8, 16])


def means(task, batch):
  """Returns the summary of a batch for random outputs, and the loss of each target."""
  rng = np.random.default_rng(0)
  outputs = rng.normal(size=(*batch.targets.shape, task.vocabulary)).astype(np.float32)
  found = jax.jit(task.metrics)(outputs, batch)
  average = {key: np.average(value, weights=weights) for key, (value, weights) in found.items()}
  p = np.exp(outputs.astype(float))
  p /= p.sum(axis=-1, keepdims=True)
  return task.summary(average), -np.log(np.take_along_axis(p, batch.targets[..., None], -1)[..., 0])


def few(batch):
  """Returns the first rows of a batch, as many of each, so that programs compile once."""
  return jax.tree.map(lambda x: x[:20], batch)


def test_bits_per_byte_are_all_nats_over_all_bytes_of_the_targets():
  own = bpe(MERGES)
  task, tests, _ = opened(own)
  for test in tests.values():
    batch = few(test.rows[8])
    (summary, nats), weights = means(task, batch), batch.weights
    text = own.decode(batch.targets[weights])
    assert len(text) > 1.2 * weights.sum()
    expected = nats[weights].sum() / math.log(2) / len(text)
    assert summary['bits/byte'] == pytest.approx(expected, rel=1e-6)
    assert summary['bytes/token'] == pytest.approx(len(text) / weights.sum(), rel=1e-6)
    assert summary['nats/token'] == pytest.approx(nats[weights].mean(), rel=1e-6)


def test_a_bpe_without_merges_equals_bytes():
  (task, tests, scored), (other, others, same) = opened(bpe()), opened(BYTES)
  assert scored == same
  for name in tests:
    for length in (8, 16):
      one, two = tests[name].rows[length], others[name].rows[length]
      jax.tree.map(np.testing.assert_array_equal, one, two)
    tokens, _ = means(task, few(tests[name].rows[8]))
    of_bytes, _ = means(other, few(others[name].rows[8]))
    assert tokens == {
      'nats/token': of_bytes['nats/byte'], 'bytes/token': 1.0, 'bits/byte': of_bytes['bits/byte']
    }


def test_words_name_the_unit():
  for own, unit in ((BYTES, 'byte'), (bpe(MERGES), 'token')):
    task, tests, _ = opened(own)
    assert (task.unit, task.best, task.shown) == (unit, f'nats/{unit}', ('bits/byte',))
    assert all(f'{unit}s at each length' in test.title for test in tests.values())
    with pytest.raises(UserError, match=f'the test split gives 9 {unit}s, but 20 are needed'):
      opened(own, [b'xxxxxxxxx'])


def test_without_lengths_only_nats_per_token():
  own = dataclasses.replace(bpe(MERGES), lengths=None)
  task, tests, _ = opened(own)
  assert [*means(task, few(tests['sliding'].rows[8]))[0]] == ['nats/token'] == [*task.shown]


def test_rows_of_each_length_score_the_same_tokens():
  own = bpe(MERGES)
  _, tests, _ = opened(own)
  rows = tests['non-overlapping'].rows
  joined = [own.decode(rows[length].targets.ravel()) for length in (8, 16)]
  assert joined[0] == joined[1] and len(joined[0]) > 1000


def test_text_is_read_and_written_in_tokens():
  own = bpe(MERGES)
  task, *_ = opened(own)
  tokens = task.prompt(b'the other')[0]
  # BOS, 'the', ' ', 'o', 'the', 'r'
  assert tokens.tolist() == [262, 257, 32, 111, 257, 114] and tokens.dtype == np.int32
  assert task.decode(tokens) == b'the other'
  assert task.vocabulary == 263 and task.never == (262,)


def test_the_joined_short_documents_have_bos_before_each():
  own, documents = bpe(MERGES), [b'the', b'a the', b'']
  [joined] = data.excerpts(corpus_of(documents), 'test', tokens=99, excerpt=32, tokenizer=own)
  assert sorted(map(own.decode, np.split(joined, np.flatnonzero(joined == own.bos)[1:]))) == [
    b'a the', b'the'
  ]
  batch = Text(tokenizer=own).batch(*non_overlapping([joined], 2))
  assert np.sum(batch.targets == own.bos) == np.sum(~batch.weights) == 1


def setup_of(own, tmp_path):
  """Returns the `Setup` of a small run on the text of a file, with a tokenizer in another file."""
  (tmp_path / 'a.txt').write_bytes(b'\n'.join(texts(9, 300)))
  (tmp_path / 'own.json').write_text(file_of(own))
  settings = (
    f'data.corpus=text:{tmp_path}/a.txt', f'data.tokenizer={tmp_path}/own.json', 'train.length=8',
    'evaluate.multiples=1,2', 'task.text.tokens=200', 'task.text.stride=4', 'task.text.windows=5',
  )
  config, *_ = config_lib.load('rope', [f'--config.{setting}' for setting in settings])
  return state.setup(config)


def test_a_run_reads_tokens_and_its_hash_names_the_tokenizer(tmp_path):
  setup = setup_of(MERGES, tmp_path)
  own, opened = setup.task.tokenizer, setup.open()
  assert own.size == 262 and setup.model.vocabulary == 263
  text = data.load(**state.source(setup.config))
  assert opened.name == f'{text}; {own}'
  ids = np.concatenate([opened.train[0][i].targets for i in range(len(opened.train[0]))])
  assert own.decode(ids) == text.documents('train')[0]
  shas = {setup_of(merges, tmp_path).open().sha256 for merges in ((), MERGES[:1], MERGES)}
  assert len({*shas, text.sha256}) == 4


def test_a_checkpoint_is_read_only_with_its_tokenizer(tmp_path):
  setup = setup_of(MERGES, tmp_path)
  record = run_summary.record(setup.config, setup.open(), {})
  assert record['tokenizer'] == setup.task.tokenizer.sha256
  check = lambda record, setup: state.check_config(record, setup.config, tmp_path, state.READABLE)
  check(record, setup)
  other = setup_of(MERGES[::-1][:3] + MERGES[:3][::-1], tmp_path)  # of the same size, same path
  assert other.task.vocabulary == setup.task.vocabulary
  with pytest.raises(UserError, match=rf'of SHA-256 {record["tokenizer"][:12]}, not with tokeniz'):
    check(record, other)
  of_bytes = record | {'config': record['config'] | {'data': {}}}
  del of_bytes['tokenizer']  # as in records of earlier versions
  with pytest.raises(UserError, match=f'of SHA-256 {BYTES.sha256[:12]}, not with tokenizer'):
    check(of_bytes, setup)
