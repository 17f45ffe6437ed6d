"""Corpora, their hashes, and batches that hold every byte once and resume bit for bit."""

import collections
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorflow_datasets as tfds

from posjax import data
from posjax.batch import Batch, Stream
from posjax.data import pipeline, python_source
from posjax.data import prepared as prepared_lib
from posjax.data.corpus import SPLITS, Corpus
from posjax.errors import UserError
from tests.support.text import batches as batches_of


@pytest.fixture(scope='session')
def prepared(tmp_path_factory) -> str:
  """A directory that holds python_source."""
  directory = str(tmp_path_factory.mktemp('tfds'))
  data.load('tfds:python_source', directory)
  return directory


@pytest.fixture
def write(tmp_path):
  """Writes numbered files and returns their corpus name."""

  def write(*texts: bytes) -> str:
    for number, text in enumerate(texts):
      (tmp_path / f'{number:03}.txt').write_bytes(text)
    return f'text:{tmp_path}/*.txt'

  return write


def in_memory(documents) -> Corpus:
  return Corpus(
    name='memory',
    files=len(documents),
    bytes=0,
    sha256=hashlib.sha256(repr(documents).encode()).hexdigest(),
    splits=SPLITS,
    documents_by_split={split: documents for split in SPLITS},
  )


def random_documents(count: int, longest: int) -> list[bytes]:
  rng = np.random.default_rng(0)
  return [bytes(rng.integers(1, 256, size, np.uint8)) for size in rng.integers(1, longest, count)]


def cut(documents, length: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
  """Returns the (inputs, targets) that an epoch must hold."""
  expected = []
  for text in documents:
    for start in range(0, len(text), length):
      targets = tuple(text[start : start + length])
      expected.append(((256, *text)[start : start + len(targets)], targets))
  return expected


def segments(batch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
  """Returns the (inputs, targets) in a batch, row by row."""
  found = []
  stream = batch.stream
  for inputs, targets, ids in zip(stream.x, batch.targets, stream.segment_ids, strict=True):
    for segment in range(ids.max() + 1):
      found.append((tuple(inputs[ids == segment]), tuple(targets[ids == segment])))
  return found


def pieces(corpus, count: int, **arguments) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
  """Returns the first pieces in the order of cutting, which batches of one row preserve."""
  batches = batches_of(corpus, batch=1, **arguments)
  found = itertools.chain.from_iterable(map(segments, batches))
  return list(itertools.islice(found, count))


def assert_same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


# Tokens and batches.


def test_tokens_are_bytes_after_bos():
  text = bytes(range(256))
  tokens = data.encode(text)
  assert tokens.dtype == np.int32
  assert tokens.tolist() == [data.BOS, *range(256)]
  assert data.TEXT == 1 + tokens.max()
  assert data.decode(np.concatenate([tokens, tokens])) == text + text
  assert data.encode(b'').tolist() == [256]
  others = [data.EOS, data.SEP, data.MASK, data.PAD]
  assert [*others, data.ALL] == [*range(data.TEXT, data.TEXT + 5)]


@pytest.mark.parametrize('length', [pytest.param(1, marks=pytest.mark.slow), 5, 64])
def test_every_byte_is_a_target_once_in_an_epoch(write, length):
  corpus = data.load(write(*random_documents(300, longest=40)))
  documents = list(corpus.documents('train'))
  assert len(documents) > 2 * pipeline.WINDOW  # an epoch has several windows, the last one short
  expected = cut(documents, length)
  found = pieces(corpus, 3 * len(expected), length=length, seed=1)
  epochs = [found[k * len(expected) : (k + 1) * len(expected)] for k in range(3)]
  for epoch in epochs:
    assert collections.Counter(epoch) == collections.Counter(expected)
  assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
  assert all(256 not in targets for _, targets in found)


def test_an_epoch_of_two_bytes():
  found = pieces(in_memory([b'ab']), 6, length=1, seed=0)
  for epoch in (found[:2], found[2:4], found[4:]):
    assert sorted(epoch) == [((97,), (98,)), ((256,), (97,))]


def test_rows_are_packed():
  length, batch = 32, 8
  batches = batches_of(in_memory(random_documents(90, 50)), length=length, batch=batch, seed=0)
  counts = collections.Counter()
  for _ in range(30):
    rows = next(batches)
    shape, stream = (batch, length), rows.stream
    assert jax.tree.map(lambda x: (x.shape, x.dtype), rows) == Batch(
      Stream((shape, np.int32), ((*shape, 1), np.int32), (shape, np.int32)),
      (shape, np.int32), (shape, bool),
    )
    np.testing.assert_array_equal(rows.weights, stream.segment_ids >= 0)
    for row in range(batch):
      ids = stream.segment_ids[row]
      filled = np.count_nonzero(ids >= 0)
      np.testing.assert_array_equal(ids[filled:], -1)
      for empty in (rows.targets, stream.x, stream.pos):
        np.testing.assert_array_equal(empty[row, filled:], 0)
      begins = np.flatnonzero(np.diff(ids[:filled], prepend=-1))
      np.testing.assert_array_equal(ids[begins], np.arange(len(begins)))
      for start, stop in itertools.pairwise([*begins, filled]):
        np.testing.assert_array_equal(stream.pos[row, start:stop, 0], np.arange(stop - start))
        np.testing.assert_array_equal(
          stream.x[row, start + 1 : stop], rows.targets[row, start : stop - 1]
        )
      counts[len(begins)] += 1
  assert counts.total() == 30 * batch
  assert counts[1] > 0 and counts.total() - counts[1] > 30  # rows alone and rows shared


def test_a_batch_comes_from_many_documents():
  documents = [bytes([number]) * 6400 for number in range(100)]
  batches = batches_of(in_memory(documents), length=64, batch=16, seed=0)
  distinct = [len(np.unique(next(batches).targets[:, 0])) for _ in range(200)]
  # Expect 100 (1 - 0.99^16) = 14.85 documents if all pieces are equally likely.
  assert abs(np.mean(distinct) - 14.85) < 0.3


def test_seeds():
  corpus = in_memory(random_documents(200, longest=60))
  count = len(cut(corpus.documents('train'), 16))
  one, same, other = (pieces(corpus, count, length=16, seed=seed) for seed in (7, 7, 8))
  assert one == same
  assert one != other
  assert sorted(one) == sorted(other)


# Resuming. An epoch is about 50 batches of two windows.

RESUMABLE = {'length': 16, 'batch': 4, 'seed': 5}


@pytest.fixture(scope='module')
def resumable():
  """A corpus, its first 120 batches, and the state before each batch."""
  corpus = in_memory(random_documents(200, longest=30))
  batches = batches_of(corpus, **RESUMABLE)
  states, expected = [], []
  for _ in range(120):
    states.append(json.dumps(batches.get_state()))
    expected.append(next(batches))
  return corpus, states, expected


def test_resume_is_exact_everywhere(resumable):
  corpus, states, expected = resumable
  epoch = sum(map(len, corpus.documents('train')))
  assert sum(np.count_nonzero(batch.stream.segment_ids >= 0) for batch in expected) > 2 * epoch
  assert len(set(states)) == len(states)
  used = batches_of(corpus, **RESUMABLE)
  for step in [*range(0, 118, 3), 0]:  # the last state is older than the iterator
    fresh = batches_of(corpus, **RESUMABLE)
    for batches in (fresh, used):
      batches.set_state(json.loads(states[step]))
      assert json.dumps(batches.get_state()) == states[step]
      for batch in expected[step : step + 2]:
        assert_same(next(batches), batch)


@pytest.mark.parametrize('step', [0, 1, 75])
def test_resume_through_orbax(resumable, step, tmp_path):
  corpus, _, expected = resumable
  batches = batches_of(corpus, **RESUMABLE)
  for _ in range(step):
    next(batches)
  with ocp.CheckpointManager(tmp_path) as manager:
    save = grain.checkpoint.CheckpointSave(batches)
    manager.save(step, args=ocp.args.Composite(data=save))
  next(batches)

  restored = batches_of(corpus, **RESUMABLE)
  with ocp.CheckpointManager(tmp_path) as manager:
    restore = grain.checkpoint.CheckpointRestore(restored)
    manager.restore(step, args=ocp.args.Composite(data=restore))
  for batch in expected[step : step + 30]:
    assert_same(next(restored), batch)


def test_fingerprint_changes_with_everything(monkeypatch):
  corpus = in_memory([b'one', b'two'])
  arguments = {'length': 8, 'batch': 4, 'seed': 1}

  def fingerprint(corpus, **arguments):
    own = dict(sha256=corpus.sha256, split=corpus.splits[0])
    return json.dumps(data.fingerprint(**own, **arguments))

  changed = [{'length': 9}, {'batch': 5}, {'seed': 2}]
  prints = [fingerprint(corpus, **arguments | change) for change in [{}, *changed]]
  text = dataclasses.replace(corpus, sha256='0')
  split = dataclasses.replace(corpus, splits=('train[:50%]', 'validation', 'test'))
  prints += [fingerprint(other, **arguments) for other in (text, split)]
  for name in ('VERSION', 'WINDOW'):
    with monkeypatch.context() as patch:
      patch.setattr(pipeline, name, getattr(pipeline, name) + 1)
      prints.append(fingerprint(corpus, **arguments))
  with monkeypatch.context() as patch:
    patch.setattr(pipeline.importlib.metadata, 'version', lambda name: f'{name} 99')
    prints.append(fingerprint(corpus, **arguments))
  with monkeypatch.context() as patch:
    patch.setattr(np, '__version__', '99')
    prints.append(fingerprint(corpus, **arguments))
  assert len(set(prints)) == len(prints)
  assert fingerprint(in_memory([b'one', b'two']), **arguments) == prints[0]


# Files.


def test_files_are_cut_after_a_newline(write):
  lines = [b'%06d\n' % number for number in range(1003)]
  corpus = data.load(write(b''.join(lines), b'', b'b' * 200))
  parts = [list(corpus.documents(split)) for split in SPLITS]
  assert parts[0] == [b''.join(lines[:902]), b'b' * 180]
  assert parts[1] == [b''.join(lines[902:952]), b'b' * 10]
  assert parts[2] == [b''.join(lines[952:]), b'b' * 10]
  assert (corpus.files, corpus.bytes) == (2, 7221)
  framed = b''
  for name, text in ((b'000.txt', b''.join(lines)), (b'002.txt', b'b' * 200)):
    framed += b'%b%b%b%b' % (len(name).to_bytes(8), name, len(text).to_bytes(8), text)
  sha = hashlib.sha256(framed).hexdigest()
  assert corpus.sha256 == sha
  assert str(corpus) == f'{corpus.name}: 2 files, 0.01 MB, SHA-256 {sha[:12]}'


def test_a_newline_far_from_the_cut_does_not_count(write):
  corpus = data.load(write(b'title\n' + b'x' * 994))
  sizes = [[len(text) for text in corpus.documents(split)] for split in SPLITS]
  assert sizes == [[900], [50], [50]]


@pytest.mark.parametrize('size', [3, 7, 19, 20, 21, 1000])
def test_splits_of_a_file_add_up_to_the_file(write, size):
  text = np.random.default_rng(size).choice([10, 65, 255], size).astype(np.uint8).tobytes()
  corpus = data.load(write(text))
  parts = [part for split in SPLITS for part in corpus.documents(split)]
  assert b''.join(parts) == text
  assert all(parts)
  assert len(corpus.documents('train')[0]) > 0.8 * size - 1


def test_invalid_utf8_is_bytes(write):
  text = bytes(range(128, 256)) * 10
  corpus = data.load(write(text))
  assert corpus.documents('train')[0] == text[:1152]
  [tokens] = data.excerpts(corpus, 'train', tokens=2000, excerpt=2000)
  assert data.decode(tokens) == text[:1152]


def test_splits_can_be_swapped(write):
  name = write(b'a' * 90 + b'b' * 5 + b'c' * 5)
  wanted = {'train': 'train', 'validation': 'test', 'test': 'validation'}
  corpus = data.load(name, **wanted)
  assert [corpus.documents(split)[0] for split in SPLITS] == [b'a' * 90, b'c' * 5, b'b' * 5]
  assert corpus == data.load(name, validation='test', test='validation')
  assert corpus != data.load(name)


def test_a_hash_covers_names_and_texts(write, tmp_path):
  shas = []
  for texts in ([b'ab', b'cd'], [b'abc', b'd'], [b'ab', b'ce']):
    shas.append(data.load(write(*texts)).sha256)
  (tmp_path / '001.txt').rename(tmp_path / '002.txt')
  shas.append(data.load(f'text:{tmp_path}/*.txt').sha256)
  assert len(set(shas)) == 4


@pytest.mark.parametrize(
  ('texts', 'message'),
  [
    ((), 'no file matches'),
    ((b'', b''), 'every file that matches is empty'),
    ((b'x',), "'train' has 0 bytes"),
    ((b'x\n',), "'train' has 1 bytes"),
  ],
)
def test_too_little_text(write, texts, message):
  with pytest.raises(UserError, match=message) as error:
    data.load(write(*texts))
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['python_source', 'tfds:', 'text:', 'package:', 'tsv:a'])
def test_a_corpus_has_a_kind_and_a_name(name):
  with pytest.raises(UserError, match=rf'^data\.corpus = {name}: .*must be one of tfds:, text:, '):
    data.load(name)


def test_text_has_three_splits(write):
  with pytest.raises(UserError, match=r"train, validation, test, not 'train\[:50%\]'"):
    data.load(write(b'text' * 10), train='train[:50%]')


# Python's own source.


def standard_library() -> dict[str, bytes]:
  """Walks the library independently: prunes folders instead of filtering names."""
  root = sysconfig.get_paths()['stdlib']
  found = {}
  for folder, folders, files in os.walk(root):
    folders[:] = [
      name
      for name in folders
      if not name.startswith(('test', 'idle_test', 'config-', 'encodings', '__pycache__'))
      and not name.endswith('-packages')
    ]
    for file in files:
      path = os.path.join(folder, file)
      if file.endswith('.py') and '_sysconfigdata' not in file and os.path.getsize(path):
        found[os.path.relpath(path, root).replace(os.sep, '/')] = pathlib.Path(path).read_bytes()
  return found


def test_python_source_is_the_standard_library(prepared):
  corpus = data.load('tfds:python_source', prepared)
  version = '.'.join(map(str, sys.version_info[:3]))
  assert corpus.name.startswith(f'tfds:python_source/{version}')
  library = standard_library()
  sha = hashlib.sha256()
  for name, text in sorted(library.items()):
    sha.update(len(name).to_bytes(8) + name.encode() + len(text).to_bytes(8) + text)
  assert corpus.files == len(library) > 400
  assert corpus.bytes == sum(map(len, library.values())) > 5e6
  assert corpus.sha256 == sha.hexdigest()

  builder = tfds.builder('python_source', data_dir=prepared)
  names = {}
  for split in SPLITS:
    examples = list(builder.as_data_source(split))
    assert [example['text'] for example in examples] == list(corpus.documents(split))
    names[split] = [example['name'].decode() for example in examples]
    assert all(example['text'] == library[example['name'].decode()] for example in examples)
  assert sorted(itertools.chain(*names.values())) == sorted(library)
  for split, (start, stop) in zip(SPLITS, ((0, 90), (90, 95), (95, 100)), strict=True):
    hashes = [int.from_bytes(hashlib.sha256(name.encode()).digest()) for name in names[split]]
    assert all(start <= number % 100 < stop for number in hashes)
    assert abs(len(hashes) / len(library) - (stop - start) / 100) < 0.03


def test_a_python_without_source(monkeypatch, tmp_path):
  monkeypatch.setattr(sysconfig, 'get_paths', lambda: {'stdlib': str(tmp_path)})
  (tmp_path / 'os.pyc').write_bytes(b'compiled')
  with pytest.raises(UserError, match=r"no \.py files.*config\.data\.corpus='text:"):
    data.load('tfds:python_source', str(tmp_path / 'data'))
  (tmp_path / 'test').mkdir()
  for name in ('test/a.py', '_sysconfigdata_x.py', 'site-packages.py', 'empty.py'):
    (tmp_path / name).write_bytes(b'' if name == 'empty.py' else b'text')
  assert list(python_source.library()) == ['site-packages.py']


def test_importing_is_light_and_tensorflow_is_never_imported(prepared):
  program = f"""
import sys
from posjax import data
from tests.support.text import batches
heavy = {{'grain', 'tensorflow_datasets', 'array_record', 'tensorflow'}}
print(sorted(heavy & set(sys.modules)))
corpus = data.load('tfds:python_source', {prepared!r})
next(batches(corpus, length=8, batch=2, seed=0))
print(sorted(heavy & set(sys.modules)))
"""
  command = [sys.executable, '-c', program]
  root = pathlib.Path(data.__file__).parents[2]
  run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
  assert run.stdout == "[]\n['array_record', 'grain', 'tensorflow_datasets']\n"


# Foreign TFDS datasets.


class Passages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A dataset prepared elsewhere by a user: TFDS finds its files but not its code."""

  VERSION = tfds.core.Version('2.1.0')
  url_infos = None

  def _info(self):
    features = {'passage': tfds.features.Text(), 'page': np.int64}
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(20), 'test': self._generate_examples(5)}

  def _generate_examples(self, count):
    for page in range(count):
      yield page, {'passage': b'passage %d' % page, 'page': page}


class Pairs(Passages, skip_registration=True):
  """A dataset with two texts."""

  def _info(self):
    features = {'passage': tfds.features.Text(), 'title': tfds.features.Text(), 'page': np.int64}
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

  def _generate_examples(self, count):
    for page, example in super()._generate_examples(count):
      yield page, example | {'title': 'title'}


@pytest.fixture(scope='module')
def foreign(tmp_path_factory) -> str:
  directory = str(tmp_path_factory.mktemp('foreign'))
  for builder in (Passages, Pairs):
    builder(data_dir=directory).download_and_prepare(file_format='array_record')
  return directory


def test_a_foreign_dataset(foreign):
  splits = {'train': 'train[:75%]', 'validation': 'train[75%:]', 'test': 'test'}
  corpus = data.load('tfds:passages', foreign, **splits)
  parts = {split: list(corpus.documents(split)) for split in SPLITS}
  assert [len(part) for part in parts.values()] == [15, 5, 5]
  pages = {b'passage %d' % page for page in range(20)}
  assert {*parts['train'], *parts['validation']} == pages
  assert set(parts['test']) == {b'passage %d' % page for page in range(5)}

  info = tfds.builder('passages', data_dir=foreign).info
  assert (corpus.name, corpus.files) == ('tfds:passages/2.1.0', 25)
  assert corpus.bytes == info.splits['train'].num_bytes + info.splits['test'].num_bytes
  counts = {'test': 5, 'train': 20}
  recorded = {name: [info.splits[name].num_bytes, [count]] for name, count in counts.items()}
  expected = json.dumps(['passages/2.1.0', recorded], sort_keys=True).encode()
  assert corpus.sha256 == hashlib.sha256(expected).hexdigest()
  found = pieces(corpus, 15, length=32, seed=0)
  assert collections.Counter(found) == collections.Counter(cut(parts['train'], 32))


def test_a_foreign_dataset_without_the_needed_parts_is_refused(foreign, tmp_path):
  cases = {
    ('tfds:passages', SPLITS): "no documents 'validation'; its splits: train, test, or",
    ('tfds:passages', ('train[', 'train', 'test')): r"no documents 'train\['; its splits:",
    ('tfds:pairs', SPLITS): 'no single text feature; its features: page, passage, title',
    ('tfds:lm2b', SPLITS): "no dataset 'lm2b'; nearest: lm1b",
    ('tfds:c4/nn', SPLITS): 'BuilderConfig nn not found',
  }
  for (name, splits), message in cases.items():
    with pytest.raises(UserError, match=message) as error:
      data.load(name, foreign, **dict(zip(SPLITS, splits, strict=True)))
    assert '\n' not in str(error.value)

  shutil.copytree(f'{foreign}/passages', tmp_path / 'passages')
  path = tmp_path / 'passages/2.1.0/dataset_info.json'
  path.write_text(path.read_text().replace('array_record', 'tfrecord'))
  with pytest.raises(UserError, match='as tfrecord, which only TensorFlow can read'):
    data.load('tfds:passages', str(tmp_path))


@pytest.mark.parametrize('error, message', [
  (
    ConnectionError('no route\nto host'),
    'tfds:lm1b is not in {} and cannot be prepared here (ConnectionError: no route); on a '
    'machine with a network and TensorFlow, `tfds build lm1b --file_format=array_record` '
    'prepares it',
  ),
  (
    PermissionError(13, 'Permission denied', '/home/x'),
    "{}: tfds:lm1b cannot be written there (PermissionError: [Errno 13] Permission denied: "
    "'/home/x'); --config.data.directory names another folder",
  ),
])  # fmt: skip
def test_a_dataset_that_cannot_be_prepared(monkeypatch, tmp_path, capsys, error, message):
  def fail(self, **kwargs):
    raise error

  monkeypatch.setattr(prepared_lib, '_check_network', lambda urls: None)
  monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', fail)
  with pytest.raises(UserError) as refusal:
    data.load('tfds:lm1b', str(tmp_path))
  assert str(refusal.value) == message.format(tmp_path)
  assert capsys.readouterr() == ('', 'downloading and preparing tfds:lm1b\n')


def test_a_server_that_is_not_reached_is_asked_once(monkeypatch, tmp_path):
  asked = []

  def refuse(request, timeout):
    asked.append((request.get_method(), request.full_url, timeout))
    raise urllib.error.URLError('no such host')

  monkeypatch.setattr(urllib.request, 'urlopen', refuse)
  with pytest.raises(UserError, match='lm1b .* cannot be prepared here .*no such host'):
    data.load('tfds:lm1b', str(tmp_path))
  [(method, url, timeout)] = asked
  assert (method, timeout <= 10) == ('HEAD', True)
  assert url.startswith('http://www.statmt.org/')

  for reached in (urllib.error.HTTPError('http://a', 405, 'no HEAD', {}, None), TimeoutError()):
    with monkeypatch.context() as patch:
      patch.setattr(urllib.request, 'urlopen', lambda request, timeout, e=reached: raises(e))
      prepared_lib._check_network(['http://a'])


def raises(error):
  raise error


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='; --config.data.directory names another folder$') as error:
    data.load('tfds:python_source', f'{tmp_path}/file/tfds')
  assert str(error.value).startswith(f'{tmp_path}/file/tfds: tfds:python_source cannot be written')
  files = len(python_source.library())
  assert capsys.readouterr() == ('', f'preparing the Python source ({files} files)\n')


def test_another_run_prepares_it_first(monkeypatch, tmp_path, prepared, capsys):
  prepare = tfds.core.DatasetBuilder.download_and_prepare

  def late(self, **kwargs):
    prepare(python_source.PythonSource(data_dir=str(tmp_path)), **kwargs)
    raise OSError('Directory not empty')

  monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', late)
  corpus = data.load('tfds:python_source', str(tmp_path))
  assert corpus == data.load('tfds:python_source', prepared)
  # TFDS does not print (it would mention downloads), and a prepared dataset prints nothing.
  assert capsys.readouterr() == ('', f'preparing the Python source ({corpus.files} files)\n')


@pytest.mark.parametrize('name', ['tiny_shakespeare', 'python_source'])
def test_a_mocked_dataset(name, tmp_path, monkeypatch):
  monkeypatch.setattr(prepared_lib, '_check_network', lambda urls: None)
  with tfds.testing.mock_data(num_examples=7):
    corpus = data.load(f'tfds:{name}', str(tmp_path))
    source = tfds.builder(name, data_dir=str(tmp_path)).as_data_source('train')
    texts = [example['text'].encode() for example in source]
    assert len(texts) == 7
    assert list(corpus.documents('train')) == texts
    found = pieces(corpus, len(cut(texts, 4)), length=4, seed=0)
    assert collections.Counter(found) == collections.Counter(cut(texts, 4))
