"""Damaged corpora: each works or ends in one line, at the start or in the middle of a run."""

import json
import os
import pathlib
import shutil
import subprocess
import sysconfig
import time
import tracemalloc

import numpy as np
import pytest
import tensorflow_datasets as tfds

from posjax import data
from posjax.data import __main__ as command_of_data
from posjax.data.corpus import SPLITS
from posjax.errors import UserError
from tests.support.text import batches as batches_of
from tests.test_train import ROOT, command


def refused(corpus, directory='unused'):
  """Returns the one-line error of loading and reading a corpus, after any number of batches."""
  with pytest.raises(UserError) as error:
    loaded = data.load(corpus, str(directory))
    for split in SPLITS:
      list(loaded.documents(split))
  assert '\n' not in str(error.value)
  return str(error.value)


# Text files.


def files(folder, count):
  for number in range(count):
    (folder / f'{number:03}.txt').write_bytes(b'line %d of a file\n' % number * 40)
  return f'text:{folder}/*.txt'


def link_to_nothing(path):
  path.symlink_to('nowhere.txt')


@pytest.mark.parametrize('make, kind', [
  (os.mkfifo, 'not a regular file'), (link_to_nothing, 'a broken link'),
])
def test_pipes_and_broken_links_are_refused(tmp_path, make, kind):
  corpus = files(tmp_path, 2)
  make(tmp_path / '001b.txt')
  assert refused(corpus) == (
    f'{corpus}: {tmp_path}/001b.txt is {kind}; repair or remove it, or match fewer files'
  )


def test_folders_that_match_a_pattern_are_skipped(tmp_path):
  (tmp_path / 'books.txt').mkdir()
  corpus = f'text:{tmp_path}/*.txt'
  assert refused(corpus) == (
    f'{corpus}: no file matches, only folders; did you mean {tmp_path}/*.txt/*? '
    f'(from {os.getcwd()})'
  )
  assert data.load(files(tmp_path, 3)).files == 3


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
  corpus = files(tmp_path, 2)

  def deny(self, mode):
    raise PermissionError(13, 'Permission denied', str(self))

  monkeypatch.setattr(pathlib.Path, 'open', deny)
  assert refused(corpus) == f'{tmp_path}/000.txt cannot be read: Permission denied'


def rewrite(path):
  """Replaces a file by other text of the same size, with a later mtime."""
  path.write_bytes(path.read_bytes().upper())
  os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace_by_folder(path):
  path.unlink()
  path.mkdir()


CHANGED = (
  'has changed since this run began; restore the file and rerun the command to resume, or '
  'choose another --workdir for the new text'
)
CHANGES = {
  'truncated': (lambda path: os.truncate(path, 100), CHANGED),
  'emptied': (lambda path: os.truncate(path, 0), CHANGED),
  'grown': (lambda path: path.write_bytes(path.read_bytes() + b'more'), CHANGED),
  'rewritten': (rewrite, CHANGED),
  'removed': (pathlib.Path.unlink, 'cannot be read: No such file or directory'),
  'folder': (replace_by_folder, 'cannot be read: Is a directory'),
}


@pytest.mark.parametrize('change', CHANGES)
def test_a_file_that_changes_while_a_run_reads_it(tmp_path, change):
  corpus = data.load(files(tmp_path, 300))
  batches = batches_of(corpus, length=32, batch=4, seed=0)
  next(batches)  # of the first 128 files
  do, said = CHANGES[change]
  for path in tmp_path.glob('*.txt'):
    do(path)
  with pytest.raises(UserError) as error:
    for _ in range(2000):
      next(batches)
  path, _, message = str(error.value).partition(' ')
  assert message == said and pathlib.Path(path).parent == tmp_path


def test_a_huge_line_takes_a_small_multiple_of_its_memory(tmp_path):
  size = 3_000_000
  path = tmp_path / 'line.txt'
  path.write_bytes(np.random.default_rng(0).integers(97, 123, size, np.uint8).tobytes())
  tracemalloc.start()
  try:
    corpus = data.load(f'text:{path}')
    assert tracemalloc.get_traced_memory()[1] < 2.5 * size
    for split in ('validation', 'test'):
      [text] = data.excerpts(corpus, split, tokens=1000, excerpt=1000)
      assert len(text) == 1001
    next(batches_of(corpus, length=64, batch=16, seed=0))
    assert tracemalloc.get_traced_memory()[1] < 4 * size
  finally:
    tracemalloc.stop()


# Prepared datasets.


class Passages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  VERSION = tfds.core.Version('1.0.0')
  url_infos = None

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict({'text': tfds.features.Text()}),
    )

  def _split_generators(self, dl_manager):
    counts = {'train': 200, 'validation': 20, 'test': 20}
    return {split: self._generate_examples(count) for split, count in counts.items()}

  def _generate_examples(self, count):
    for page in range(count):
      yield page, {'text': f'Passage {page} of a book. ' * 10}


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """A directory with a dataset whose training split has three shards; read-only."""
  directory = tmp_path_factory.mktemp('prepared')
  builder = Passages(data_dir=str(directory))
  config = tfds.download.DownloadConfig(num_shards=3)
  builder.download_and_prepare(download_config=config, file_format='array_record')
  return directory


@pytest.fixture
def passages(prepared, tmp_path):
  """Returns the folder of a copy of that dataset."""
  shutil.copytree(prepared, tmp_path / 'tfds')
  return tmp_path / 'tfds/passages/1.0.0'


def shard(folder, number=1):
  return folder / f'passages-train.array_record-{number:05}-of-00003'


def flip(path, at):
  content = bytearray(path.read_bytes())
  content[at] ^= 1
  path.write_bytes(content)


def edit(file, change):
  return lambda folder: (folder / file).write_text(change((folder / file).read_text()))


def without_splits(text):
  return json.dumps({k: v for k, v in json.loads(text).items() if k != 'splits'})


# Damage to the folder, and the expected message.
DAMAGE = {
  'shard missing': (lambda folder: shard(folder).unlink(), 'No such file'),
  'shard empty': (lambda folder: os.truncate(shard(folder), 0), 'at least 64KB'),
  'shard cut': (lambda folder: os.truncate(shard(folder), 100_000), 'Corrupted Riegeli'),
  'shard cut at a block': (lambda folder: os.truncate(shard(folder), 65_536), 'RuntimeError'),
  'shard zeroed': (lambda folder: shard(folder).write_bytes(bytes(131_072)), 'hash mismatch'),
  'shard of another': (lambda folder: shutil.copy(shard(folder, 0), shard(folder)), 'documents'),
  'shard a folder': (lambda folder: replace_by_folder(shard(folder)), 'Is a directory'),
  'record flipped': (lambda folder: flip(shard(folder), 3000), 'hash mismatch'),
  'info empty': (edit('dataset_info.json', lambda text: ''), 'Failed to load JSON'),
  'info cut': (edit('dataset_info.json', lambda text: text[:200]), 'Failed to load JSON'),
  'info missing': (lambda folder: (folder / 'dataset_info.json').unlink(), 'dataset_info.json'),
  'info without splits': (edit('dataset_info.json', without_splits), '`splits` is empty'),
  'info with less': (
    edit('dataset_info.json', lambda text: text.replace('"67"', '"57"')), 'documents',
  ),
  'features cut': (edit('features.json', lambda text: text[:100]), 'JSONDecodeError'),
  'features missing': (lambda folder: (folder / 'features.json').unlink(), 'not found'),
  'features of another': (
    edit('features.json', lambda text: text.replace('"text": {', '"texts": {', 1)), 'NoneType',
  ),
  'all gone': (lambda folder: shutil.rmtree(folder), 'not found'),
}


@pytest.mark.parametrize('damage', DAMAGE)
def test_a_damaged_dataset_names_the_folder_to_delete(passages, damage):
  do, said = DAMAGE[damage]
  assert data.load('tfds:passages', str(passages.parents[1])).files == 240
  do(passages)
  message = refused('tfds:passages', passages.parents[1])
  start, _, rest = message.partition(' (')
  folder = start.removeprefix('tfds:passages cannot be read from ')
  assert pathlib.Path(folder) in (passages, passages.parent)
  assert said in rest
  assert rest.endswith('); delete that folder, so that it is prepared again')


def test_no_flipped_bit_of_a_shard_changes_a_text(passages):
  directory = str(passages.parents[1])
  expected = list(data.load('tfds:passages', directory).documents('train'))
  path = shard(passages)
  whole = path.read_bytes()
  noticed = 0
  for at in np.random.default_rng(0).choice(np.flatnonzero(np.frombuffer(whole, np.uint8)), 60):
    flip(path, at)
    try:
      assert list(data.load('tfds:passages', directory).documents('train')) == expected
    except UserError:
      noticed += 1
    path.write_bytes(whole)
  assert noticed > 50


def test_a_record_that_is_damaged_in_the_middle_of_a_run(passages):
  corpus = data.load('tfds:passages', str(passages.parents[1]))
  batches = batches_of(corpus, length=32, batch=4, seed=0)
  next(batches)  # of the first 128 passages
  flip(shard(passages), 3000)
  with pytest.raises(UserError, match='hash mismatch.*; delete that folder'):
    for _ in range(2000):
      next(batches)


def test_a_deleted_dataset_is_prepared_again(tmp_path, monkeypatch):
  library = tmp_path / 'library'
  library.mkdir()
  for number in range(60):
    (library / f'module{number}.py').write_text(f'number = {number}\n' * 9)
  monkeypatch.setattr(sysconfig, 'get_paths', lambda: {'stdlib': str(library)})
  directory = tmp_path / 'tfds'
  before = data.load('tfds:python_source', str(directory))
  [metadata] = directory.glob('python_source/*/*/metadata.json')
  metadata.write_text('{"files": 6')
  message = refused('tfds:python_source', directory)
  assert message.startswith(f'tfds:python_source cannot be read from {metadata.parent} (JSONDecode')
  shutil.rmtree(metadata.parent)
  assert data.load('tfds:python_source', str(directory)) == before
  info = metadata.parent / 'dataset_info.json'
  info.unlink()
  assert '(ValueError: dataset_info.json is missing); delete' in refused(
    'tfds:python_source', directory
  )


# Runs.


def last_line(process):
  _, errors = process.communicate()
  assert process.returncode == 2 and 'Traceback' not in errors
  [line] = [line for line in errors.splitlines() if line.startswith('posjax: ')]
  return line


@pytest.mark.slow
def test_a_run_whose_text_is_cut_off_ends_in_one_line(tmp_path):
  path = tmp_path / 'text.txt'
  text = ''.join(f'line {i} follows line {i - 1}\n' for i in range(1, 800))
  path.write_text(text)
  few = command(path, tmp_path / 'run', 'train.steps=9999', 'checkpoint.every=100')
  process = subprocess.Popen(few, cwd=ROOT, stderr=subprocess.PIPE, text=True)
  metrics = tmp_path / 'run/metrics.jsonl'
  while not metrics.exists() or len(metrics.read_text().splitlines()) < 150:
    assert process.poll() is None
    time.sleep(0.05)
  path.write_text(text[:9000])
  assert last_line(process) == f'posjax: {path} {CHANGED}'


@pytest.mark.slow
def test_a_run_whose_dataset_is_damaged_ends_in_one_line(passages, tmp_path):
  flip(shard(passages), 3000)
  data_of = ('data.corpus=tfds:passages', f'data.directory={passages.parents[1]}')
  process = subprocess.Popen(
    command('unused', tmp_path / 'run', *data_of), cwd=ROOT, stderr=subprocess.PIPE, text=True
  )
  line = last_line(process)
  assert line.startswith(f'posjax: tfds:passages cannot be read from {passages} (RuntimeError: ')
  assert line.endswith('; delete that folder, so that it is prepared again')


@pytest.mark.slow
def test_one_line_of_50_megabytes_trains(tmp_path):
  path = tmp_path / 'line.txt'
  words = [b'%x ' % number for number in np.random.default_rng(0).integers(0, 2**32, 5_600_000)]
  path.write_bytes(b''.join(words)[:50_000_000])
  assert path.stat().st_size == 50_000_000
  done = subprocess.run(
    command(path, tmp_path / 'run', 'train.steps=2', 'optimizer.warmup=1'), cwd=ROOT,
    capture_output=True, text=True, check=True,
  )
  assert '1 files, 50.00 MB' in done.stdout
  assert len((tmp_path / 'run/metrics.jsonl').read_text().splitlines()) == 2


def test_the_command_prints_the_contents_of_a_corpus(tmp_path, capsys):
  texts = {'a.txt': b'one\n' * 100, 'b.txt': b'two\n' * 50}
  for name, text in texts.items():
    (tmp_path / name).write_bytes(text)
  assert command_of_data.main([f'text:{tmp_path}/*.txt']) == 0
  said = capsys.readouterr().out.splitlines()
  assert said[0].startswith(f'corpus      text:{tmp_path}/*.txt: 2 files, 0.00 MB, SHA-256 ')
  # 90, 5 and 5 percent of each text, cut after a newline.
  assert said[1:4] == [
    'train       train: 2 documents, 540 bytes',
    'validation  validation: 2 documents, 28 bytes', 'test        test: 2 documents, 32 bytes',
  ]
  assert said[5] == 'one'
  assert said[-1] == (
    f"next:       python -m posjax.main --config=rope '--config.data.corpus=text:{tmp_path}/*.txt'"
  )
  assert command_of_data.main(['txt:a']) == 2
