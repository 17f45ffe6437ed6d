"""Translation: settings of its scores, and their agreement with numbers of the library."""

import importlib.util

import pytest

from posjax import run as run_lib
from posjax import state
from posjax.errors import UserError
from posjax.tasks.translate import Translate

FIRST, SECOND = 'the cat is on the mat', 'there is a dog'


@pytest.fixture
def sacrebleu():
  pytest.importorskip('sacrebleu')


@pytest.mark.usefixtures('sacrebleu')
def test_bleu_is_the_geometric_mean_of_precisions_with_a_brevity_penalty():
  """By hand: 'a b c d x' has 4/5, 3/4, 2/3, 1/2 of its n-grams in 'a b c d e'."""
  got = Translate().score(['a b c d x', 'a b c d e'], ['a b c d e'] * 2, ['', ''])
  product = 9 / 10 * 7 / 8 * 5 / 6 * 3 / 4
  assert got['BLEU'] == pytest.approx(100 * product**0.25)
  short = Translate().score(['a b c d'], ['a b c d e'], [''])
  assert short['BLEU'] == pytest.approx(100 * 2.718281828 ** (1 - 5 / 4))


@pytest.mark.usefixtures('sacrebleu')
def test_an_exact_translation_has_all_points_and_a_wrong_one_none():
  exact = Translate().score([FIRST, SECOND], [FIRST, SECOND], ['', ''])
  assert exact == dict(BLEU=pytest.approx(100), chrF=pytest.approx(100))
  wrong = Translate().score(['xyzzy'], [FIRST], [''])
  assert wrong['BLEU'] < 1 and wrong['chrF'] < 1


@pytest.mark.usefixtures('sacrebleu')
def test_chinese_is_split_into_characters():
  """Without spaces, a sentence with one wrong character has no word in common with the right."""
  score = lambda words: Translate(words=words).score(
    ['已选择一个页面了'], ['已选择一个页面呢'], ['']
  )['BLEU']
  assert score('none') == 0 and score('zh') > 70


def refused(line):
  with pytest.raises(UserError) as raised:
    state.build(run_lib.parse(['posjax', '--config=rope', *line.split()]).config)
  return str(raised.value)


@pytest.mark.parametrize(('flag', 'message'), [
  ('task.translate.words=13b', 'task.translate.words = 13b: did you mean 13a? It must be one of '),
  ('task.translate.rows=0', 'task.translate.rows = 0: must be positive'),
  ('model.form=encoder', 'model.form = encoder: task.name is translate, which supports '
   'encoder_decoder or decoder; auto selects the first'),
])
def test_wrong_settings_are_refused(flag, message):
  assert refused(f'--config.task.name=translate --config.{flag}').startswith(message)


def test_a_missing_library_is_named_before_the_run(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  assert refused('--config.task.name=translate').startswith(
    "task.translate.texts = 64: scoring them needs sacrebleu; run: pip install -e '.[tasks]'"
  )
