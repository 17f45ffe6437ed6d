"""Beam search: with as many beams as there are sequences it finds the best of all."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from posjax import decoding
from posjax.beam import beam_search
from posjax.encodings import Positions
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.models.pattern import Pattern
from posjax.models.recurrent import Recurrent
from posjax.models.stack import Stack
from posjax.models.transformer import Transformer, init
from tests.support.problem import close

V, END, TOKENS = 5, 2, 3
SIZES = dict(
  dim=16, layers=2, heads=2, kv_heads=1, head_dim=8, hidden=24, dtype='float64',
  attention=dict(implementation='reference'),
)


def with_rope(model):
  return model.clone(pattern=Pattern((Rope().with_dims(model.dims),)))


def make(kind):
  sizes = SIZES | dict(attention=FrozenDict(SIZES['attention']))
  if kind == 'recurrent':
    return Recurrent(pattern=Pattern(()), vocabulary=V, kind='gru', **sizes)
  model = with_rope(Transformer(pattern=None, vocabulary=V, **sizes))
  if kind == 'decoder':
    return model
  encoder = with_rope(Stack(pattern=None, causal=False, **sizes))
  return model.clone(encoder=encoder, cross=Pattern((Nope().with_dims(model.dims),)))


def at(tokens):
  order = jnp.arange(tokens.shape[1])[None]
  return Positions(order[..., None], order, jnp.zeros_like(order))


@pytest.fixture(scope='module', params=['decoder', 'encoder_decoder', 'recurrent'])
def problem(request):
  """Returns model, weights, prompts, sources, and {continuation: log p} of each prompt, in full."""
  with jax.enable_x64(True):
    model, rng = make(request.param), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init(model, jax.random.key(0)))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), shapes)
    prompts = [rng.integers(V, size=n) for n in (2, 4)]
    sources = [rng.integers(V, size=n) for n in (5, 3)] if model.encoder else None
    every = []
    apply = jax.jit(model.apply)
    for i, prompt in enumerate(prompts):
      after = np.array([*itertools.product(range(V), repeat=TOKENS)])
      rows = np.concatenate([np.tile(prompt, (len(after), 1)), after], axis=1)
      source = None
      if sources:
        own = np.tile(sources[i], (len(after), 1))
        source = own, at(own)
      logits, _ = apply({'params': params}, rows, at(rows), source=source)
      logp = jax.nn.log_softmax(logits)[:, len(prompt) - 1 : -1]
      each = np.take_along_axis(np.asarray(logp), after[..., None], axis=-1)[..., 0]
      found = {}
      for row, values in zip(after, each, strict=True):
        n = next((i + 1 for i, token in enumerate(row) if token == END), TOKENS)
        found[tuple(row[:n].tolist())] = values[:n].sum()
      every.append(found)
    return model, params, prompts, sources, every


@pytest.mark.parametrize('penalty', [0.0, 1.0])
def test_enough_beams_find_the_best_of_all(problem, penalty, float64):
  model, params, prompts, sources, every = problem
  got, logp = beam_search(
    model, params, decoding.pad(prompts, sources), tokens=TOKENS, beams=V**TOKENS, penalty=penalty,
    end=END, rng=jax.random.key(0),
  )
  for row, value, found in zip(got, logp, every, strict=True):
    score = lambda seq, found=found: found[seq] / ((5 + len(seq)) / 6) ** penalty
    best = max(found, key=score)
    assert tuple(row) == best[: len(best) - (best[-1] == END)]
    close(value, found[best], 1e-9, 1e-9)


def test_one_beam_is_greedy(problem, float64):
  """One beam takes the likeliest next token until the end; `never` is not generated."""
  model, params, prompts, sources, _ = problem
  padded = decoding.pad(prompts, sources)
  options = dict(tokens=20, rng=jax.random.key(0), never=(0,))
  chunks = decoding.generate(
    model, params, padded, temperature=0.0, top_k=0, top_p=1.0, **options
  )
  greedy = np.concatenate([*chunks], axis=1)
  got, _ = beam_search(model, params, padded, beams=1, penalty=0.6, end=END, **options)
  for row, want in zip(got, greedy, strict=True):
    end = np.append(np.flatnonzero(want == END), 20)[0]
    np.testing.assert_array_equal(row, want[:end])
    assert 0 not in row
