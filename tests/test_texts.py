"""Generated texts: what is generated for which example, and that greedy texts are exact answers."""

import dataclasses

import jax
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import evaluate, state, texts
from posjax.batch import padded
from posjax.tasks.copy import Copy
from posjax.train_step import make_step
from tests.support.meshes import mesh_of


@dataclasses.dataclass(frozen=True)
class Scored(Copy):
  """Copy, with the share of exact answers among generated texts as a score."""

  scored_texts = 40

  def score(self, outputs, references, sources):
    assert references == sources  # of copy
    return {'exact': float(np.mean([a == b for a, b in zip(outputs, references, strict=True)]))}


def setup(form, *flags):
  """Returns the `Setup` of a model that copies at most three letters."""
  given = ('task.name=copy', f'model.form={form}', 'train.length=8', *flags)
  config, _, _ = config_lib.load('rope', [f'--config.{each}' for each in given])
  found = state.setup(config)
  task = Scored(symbols=4, rows=40, form=form)
  return dataclasses.replace(found, task=task, mesh=mesh_of(1))


@pytest.mark.parametrize('form', ['decoder', 'encoder_decoder'])
def test_each_example_is_generated_from_its_own_prompt_and_source(monkeypatch, form):
  found, asked = setup(form), []
  data = found.open()

  def beam_search(model, params, prompts, *, tokens, beams, penalty, end, never, rng):
    asked.append((prompts, tokens, beams, penalty, end))
    read = prompts.tokens if prompts.sources is None else prompts.sources
    letters = [row[(row >= ord('a')) & (row <= ord('z'))] for row in read]
    return letters, np.zeros(len(letters))

  monkeypatch.setattr(texts, 'beam_search', beam_search)
  title, scores = texts.score(found.config, found.task, None, None, data)
  assert scores == {'exact': 1.0} and '40 texts of at most 8 tokens' in title
  [(prompts, tokens, beams, penalty, end)] = asked
  assert (tokens, beams, penalty, end) == (8, 1, 0.6, found.task.tokenizer.eos)
  assert (prompts.sources is None) == (form == 'decoder')


@pytest.mark.slow
@pytest.mark.parametrize(('form', 'steps'), [('decoder', 60), ('encoder_decoder', 220)])
def test_greedy_texts_are_exact_where_all_targets_are_the_likeliest(form, steps):
  """A partly trained model: the share of exact generated texts is that of exact rows."""
  found = setup(form, f'train.steps={steps}', 'optimizer.warmup=10')
  data = found.open()
  rows = data.tests['test_texts'].rows[8]
  with jax.set_mesh(found.mesh):
    now = jax.jit(state.first(found.config, found.model))()
    step = make_step(found)
    rng = np.random.default_rng(0)
    for _ in range(steps):
      examples = [data.train[int(i)][0] for i in rng.integers(2**20, size=16)]
      now, _ = step(now, padded(examples, 8, 8))
    scorer = evaluate.Scorer(found.task, found.model, found.mesh, 512, 0)
    exact = evaluate.mean(*scorer(now.params, rows)['exact match'])
    _, scores = texts.score(found.config, found.task, found.model, now.params, data)
  assert 0 < exact < 1 and scores['exact'] == exact
