"""Word vectors as initial rows of the token table: the config's key `init.vectors`."""

import dataclasses
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from posjax import main, state, warm_start, word_vectors
from posjax.data.tokenizer import BYTES
from posjax.errors import UserError
from tests.test_train import lines
from tests.test_warm_start import arguments, params, parse

LETTERS = ['e', 'zebra', '☃', 'n']  # two of them are bytes


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  path = tmp_path_factory.mktemp('corpus') / 'numbers.txt'
  path.write_text('\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800)))
  return path


def vectors_of(path, dim=32):
  """Writes a vector for each of `LETTERS`; returns the vectors."""
  vectors = np.random.default_rng(dim).normal(size=(len(LETTERS), dim)).astype(np.float32)
  word_vectors.write(path, LETTERS, vectors)
  return vectors


def test_word_vectors_are_rows_of_the_token_table(corpus, tmp_path, capsys):
  path = tmp_path / 'vectors.txt'
  vectors = vectors_of(path)
  config = parse(*arguments(corpus, f'init.vectors={path}')).config
  setup = state.setup(config)
  old = state.first(config, setup.model)().params
  assert np.mean(np.linalg.norm(old['table_VD'], axis=1)) == pytest.approx(1, abs=0.05)
  new = warm_start.take_vectors(config.init, BYTES, old)
  ids, rows = [ord('e'), ord('n')], vectors[[0, 3]]
  own = np.asarray(new['table_VD'])[ids]
  assert np.mean(np.linalg.norm(own, axis=1)) == pytest.approx(1, abs=1e-6)
  np.testing.assert_allclose(own / own[0, 0], rows / rows[0, 0], rtol=1e-5)
  rest = np.delete(np.arange(len(new['table_VD'])), ids)
  assert np.array_equal(new['table_VD'][rest], old['table_VD'][rest])
  assert all(new[name] is old[name] for name in old if name != 'table_VD')
  assert capsys.readouterr().out == f'weights    2 of 257 rows of table_VD from {path}\n'


def test_a_word_has_one_vector_with_and_without_a_space(tmp_path):
  path = tmp_path / 'vectors.txt'
  vectors_of(path)
  tokens = [b'e', b' e', b'E', b'', b' zebra', '☃'.encode()]
  tokenizer = dataclasses.replace(BYTES, size=6, decode=lambda ids: tokens[ids[0]])
  init = ConfigDict({'vectors': str(path)})
  table = warm_start.take_vectors(init, tokenizer, {'table_VD': jnp.zeros((11, 32))})['table_VD']
  assert np.array_equal(table[0], table[1])
  assert np.any(table, axis=1).tolist() == [True, True, False, False, True, True] + [False] * 5


def test_vectors_that_do_not_fit_are_refused(corpus, tmp_path):
  path = tmp_path / 'vectors.txt'
  vectors_of(path, dim=8)
  config = parse(*arguments(corpus, f'init.vectors={path}')).config
  take = lambda: warm_start.take_vectors(config.init, BYTES, {'table_VD': jnp.zeros((257, 32))})
  with pytest.raises(UserError, match='its vectors have 8 numbers; set model.dim = 8, not 32$'):
    take()
  word_vectors.write(path, ['zebra', 'gnu'], np.ones((2, 32), np.float32))
  with pytest.raises(UserError, match='none of its 2 words is a token of bytes; train a tokenizer'):
    take()
  with pytest.raises(UserError, match='^init.vectors = .*/none.txt: .*No such file'):
    parse(*arguments(corpus, f'init.vectors={tmp_path / "none.txt"}'))


def test_a_name_depends_on_the_vectors_and_not_on_their_path(corpus, tmp_path):
  paths = [tmp_path / name for name in ('a.txt', 'b.txt')]
  vectors_of(paths[0])
  shutil.copy(*paths)
  name = lambda path: parse(*arguments(corpus, f'init.vectors={path}')).name
  before = name(paths[0])
  assert before == name(paths[1]) != parse(*arguments(corpus)).name
  paths[1].write_text(paths[1].read_text().replace('zebra', 'okapi'))
  assert name(paths[1]) != before


@pytest.mark.slow
def test_a_run_with_frozen_vectors_resumes_without_their_file(corpus, tmp_path, capsys):
  path, workdir = tmp_path / 'vectors.txt', tmp_path / 'run'
  vectors = vectors_of(path)
  settings = (
    f'init.vectors={path}', 'init.frozen=table_VD', 'train.steps=2', 'optimizer.warmup=1',
    'checkpoint.every=1',
  )
  main.start(parse(*arguments(corpus, *settings), f'--workdir={workdir}'))
  e, n = np.asarray(params(workdir)['table_VD'])[[ord('e'), ord('n')]]
  np.testing.assert_allclose(e / e[0], vectors[0] / vectors[0, 0], rtol=1e-5)
  np.testing.assert_allclose(n / e[0], vectors[3] / vectors[0, 0], rtol=1e-5)
  path.unlink()
  shutil.rmtree(workdir / 'checkpoints/2')
  before = lines(workdir)
  main.start(parse(f'--workdir={workdir}'))
  assert 'resuming after step 1\n' in capsys.readouterr().out and lines(workdir) == before
