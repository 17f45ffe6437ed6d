"""Labelled records of TFDS datasets: features as strings, and groups found without TensorFlow."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from posjax import data
from posjax.data import features
from posjax.data.corpus import SPLITS
from posjax.errors import UserError


class Annotated(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A dataset with features like those of SQuAD, CoNLL and GLUE."""

  VERSION = tfds.core.Version('3.0.0')
  url_infos = None

  def _info(self):
    text, several, label = tfds.features.Text(), tfds.features.Sequence, tfds.features.ClassLabel
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
      'text': text, 'label': label(names=['no', 'yes']), 'id': np.int32,
      'class': label(num_classes=3), 'score': np.float32, 'tokens': several(text),
      'tags': several(label(names=['O', 'B-PER', 'I-PER'])),
      'answers': several({'text': text, 'start': np.int32}), 'page': {'title': text},
    }))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(20), 'test': self._generate_examples(4)}

  def _generate_examples(self, count):
    for number in range(count):
      yield number, {
        'text': f'Größe {number}', 'label': -1 if number == 3 else number % 2, 'id': number,
        'class': 2, 'score': 0.5, 'tokens': ['Ä', 'b'][: number % 3], 'tags': [1, 2][: number % 3],
        'answers': [{'text': f'answer {i}', 'start': i} for i in range(number % 3)],
        'page': {'title': 'Title'},
      }


@pytest.fixture(scope='module')
def annotated(tmp_path_factory):
  directory = tmp_path_factory.mktemp('annotated')
  Annotated(data_dir=str(directory)).download_and_prepare(file_format='array_record')
  return str(directory)


PARTS = {'train': 'train[:75%]', 'validation': 'train[75%:]', 'test': 'test'}


def test_features_of_tfds_are_strings(annotated):
  fields = (
    'text', 'label', 'id', 'class', 'tokens', 'tags', 'answers.text', 'answers.start', 'page.title',
  )
  found = data.load_records('tfds:annotated', annotated, fields=fields, **PARTS)
  assert (found.name, found.count, found.fields) == ('tfds:annotated/3.0.0', 24, fields)
  assert [len(found.records(split)) for split in SPLITS] == [15, 5, 4]
  assert sorted(found.records('test')) == [
    ('Größe 0', 'no', '0', '2', (), (), (), (), 'Title'),
    ('Größe 1', 'yes', '1', '2', ('Ä',), ('B-PER',), ('answer 0',), ('0',), 'Title'),
    ('Größe 2', 'no', '2', '2', ('Ä', 'b'), ('B-PER', 'I-PER'), ('answer 0', 'answer 1'),
     ('0', '1'), 'Title'),
    ('Größe 3', '-1', '3', '2', (), (), (), (), 'Title'),  # -1 is no label
  ]
  other = data.load_records('tfds:annotated', annotated, fields=fields[::-1], **PARTS)
  assert other.sha256 != found.sha256
  assert other.records('test')[0] == found.records('test')[0][::-1]


def refused(directory, fields=('text',), **settings):
  with pytest.raises(UserError) as error:
    data.load_records('tfds:annotated', directory, fields=fields, **PARTS | settings)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_errors_of_tfds_are_one_line(annotated):
  message = refused(annotated, fields=('answer.text',))
  start, _, choices = message.partition(' must be one of ')
  assert start == (
    'tfds:annotated: no field answer.text; did you mean answers.text? Each of data.fields'
  )
  assert sorted(choices.split(', ')) == [
    'answers.start', 'answers.text', 'class', 'id', 'label', 'page.title', 'score', 'tags', 'text',
    'tokens',
  ]
  for empty in ('train[:0%]', 'train[:1%]', 'validation'):
    assert refused(annotated, validation=empty) == (
      f'tfds:annotated/3.0.0 has no documents {empty!r}; its splits: train, test, or parts such as '
      "'train[95%:]'"
    )


def test_other_features_are_refused():
  words = tfds.features.Sequence(tfds.features.Text())
  found = tfds.features.FeaturesDict({
    'score': np.float32, 'pixels': tfds.features.Tensor(shape=(2,), dtype=np.float32),
    'lists': tfds.features.Sequence(words), 'turns': tfds.features.Sequence({'words': words}),
  })
  wrong = {
    'score': 'Tensor(shape=(), dtype=float32)', 'pixels': 'Tensor(shape=(2,), dtype=float32)',
    'lists': 'a list of lists', 'turns.words': 'a list of lists',
  }
  for field, said in wrong.items():
    with pytest.raises(UserError) as error:
      features.reader('a', found, (field,))
    assert str(error.value) == (
      f'tfds:a: the field {field} is {said}, not text, a label, a whole number, or a list of these'
    )


def test_an_array_of_whole_numbers_is_the_list_of_its_numbers():
  read = features.reader('a', tfds.features.FeaturesDict({
    'image': tfds.features.Image(shape=(2, 2, 1)), 'label': tfds.features.ClassLabel(num_classes=3),
  }), ('image', 'label'))
  image = np.array([[[0], [7]], [[255], [1]]], np.uint8)
  assert read({'image': image, 'label': 2}) == (('0', '7', '255', '1'), '2')


# Names of datasets and fields -> the types of the values in a mocked record.
MOCKED = {
  'imdb_reviews': (('text', 'label'), 'ss'),
  'glue/sst2': (('sentence', 'label'), 'ss'),
  'conll2003': (('tokens', 'ner'), 'tt'),
  'squad': (('question', 'context', 'answers.text'), 'sst'),
  'wmt14_translate/de-en': (('de', 'en'), 'ss'),
  'cnn_dailymail': (('article', 'highlights'), 'ss'),
  'mnist': (('image', 'label'), 'ts'),
}
MOCK = """
import json, sys
import tensorflow_datasets as tfds
from posjax import data
from posjax.data import prepared
prepared._check_network = lambda urls: None
name, fields, directory = json.loads(sys.argv[1])
with tfds.testing.mock_data(num_examples=5):
  found = data.load_records(f'tfds:{name}', directory, fields=tuple(fields), validation='test')
  print(json.dumps([found.records('train')[i] for i in range(5)]))
assert 'tensorflow' not in sys.modules
"""


@pytest.mark.parametrize('name', [
  name if name == 'wmt14_translate/de-en' else pytest.param(name, marks=pytest.mark.slow)
  for name in MOCKED
])
def test_mocked_datasets_are_found_by_a_fresh_process(name, tmp_path):
  """TFDS without TensorFlow finds no group after `text` unless it is imported."""
  fields, kinds = MOCKED[name]
  done = subprocess.run(
    [sys.executable, '-c', MOCK, json.dumps([name, fields, str(tmp_path)])],
    capture_output=True, text=True, check=True,
  )
  for record in json.loads(done.stdout):
    assert ''.join({str: 's', list: 't'}[type(value)] for value in record) == kinds
    if name == 'conll2003':
      assert {*record[1]} <= {'O', 'B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'B-LOC', 'I-LOC', 'B-MISC',
                              'I-MISC'}
    if name == 'mnist':
      assert len(record[0]) == 28 * 28 and {*map(int, record[0])} <= {*range(256)}
    if name == 'imdb_reviews':
      assert record[1] in ('neg', 'pos')
