"""`python -m posjax.word_vectors`: trains, writes, prints neighbors; one line for mistakes."""

import re
import shutil

import numpy as np
import pytest

from posjax import word_vectors
from posjax.word_vectors import __main__ as command
from tests.word_vectors.test_files import GOLDEN, NEW
from tests.word_vectors.test_vocabulary import planted


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  text = '\n'.join(' '.join(document) for document in planted()[:900])
  for name in ('a', 'b'):
    (tmp_path / f'{name}.txt').write_text(text)
  return tmp_path


@pytest.mark.parametrize('method', ['skipgram', 'cbow', 'fasttext', 'glove'])
def test_trains_and_writes_vectors(method, folder, capsys):
  """The printed neighbors are those of the vectors in the file."""
  options = ['text:*.txt', '--dim=8', '--epochs=2', '--min_count=3', '--out=v.txt']
  assert command.main([method, *options]) == 0
  printed = capsys.readouterr().out
  words, vectors = word_vectors.read('v.txt')
  assert vectors.shape == (len(words), 8) and np.isfinite(vectors).all()
  assert f'{len(words)} words that occur 3 times or more' in printed
  first = next(line.split() for line in printed.splitlines() if re.match(rf'{words[0]} ', line))
  vector = vectors[0]
  near = word_vectors.nearest(words, vectors, vector, 5, skip=words[0])
  assert first[1::2] == [word for word, _ in near]
  assert printed.endswith(f'\nnext:       {command.PROGRAM} nearest v.txt {words[0]}\n')
  assert command.main(['nearest', 'v.txt', words[0]]) == 0
  assert capsys.readouterr().out.split() == first


def test_finds_neighbors_of_unknown_words(folder, capsys):
  shutil.copy(GOLDEN / NEW, 'model.bin')
  model = word_vectors.read_subwords('model.bin')
  assert 'переулками' not in model.words
  assert command.main(['nearest', 'model.bin', 'переулками']) == 0
  near = word_vectors.nearest(model.words, model.vectors(), model.vector('переулками'), 5)
  assert capsys.readouterr().out.split()[1::2] == [word for word, _ in near]


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['skipgran', 'text:*.txt'],
     'skipgran: did you mean skipgram? It must be one of skipgram, cbow, fasttext, glove, nearest'),
    (['cbow', 'text:*.txt', '--dim=0'], 'argument --dim: 0: must be a positive integer'),
    (['cbow', 'text:*.txt', 'word'], 'cbow text:*.txt: expected no words'),
    (['cbow', 'text:*.txt', '--min_count=9999'],
     'words occur 9999 times or more; lower min_count, or use more text'),
    (['cbow', 'text:*.md'], 'text:*.md: no file matches'),
    (['cbow', 'txt:*.txt'], 'did you mean text:'),
    (['cbow', 'text:*.txt', '--out=no/v.txt'], '--out=no/v.txt: there is no folder no'),
    (['nearest', 'a.vec'], 'nearest a.vec: give words after the file'),
    (['nearest', 'a.vec', 'x'], 'a.vec cannot be read: No such file or directory'),
    (['nearest', 'v.txt', 'x'], 'v.txt: none of its 2 words is x'),
  ],
)
def test_mistakes_are_one_line(arguments, message, folder, capsys):
  word_vectors.write('v.txt', ['a', 'b'], np.eye(2, dtype=np.float32))
  assert command.main(arguments) == 2
  said = capsys.readouterr().err
  assert said.startswith('posjax: ') and message in said and said.count('\n') == 1
