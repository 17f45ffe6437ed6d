"""Arguments that a Transformer passes to its parts, read from its jaxpr without compiling."""

import jax
import jax.extend
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import state
from posjax.encodings import Bound
from posjax.encodings.convolution import Convolution
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.encodings.shift import Shift
from posjax.errors import UserError
from posjax.models import block
from posjax.models.settings import HeadSettings
from tests.models.test_transformer import make, text
from tests.support.problem import FIVES, REFERENCE


def trace(model, **keywords):
  """Returns the jaxpr of the logits of a text, initialization included."""
  solve = lambda rngs, *text: model.init_with_output(rngs, *text, **keywords)[0][0]
  return jax.make_jaxpr(solve)(jax.random.key(0), *text())


@pytest.mark.parametrize('train', [True, False])
def test_positions_are_drawn_with_the_given_key_and_mode(train, monkeypatch):
  calls = []
  draw = Shift.init_state
  monkeypatch.setattr(Shift, 'init_state', lambda *args: calls.append(args[1:]) or draw(*args))
  rng = jax.random.key(1)
  trace(make((Shift(offsets=9),), layers=2), train=train, rng=rng)
  assert calls[-1] == (2, 12, train, rng)


def test_attention_gets_the_settings_of_the_model(monkeypatch):
  calls = []
  attend = block.attend
  monkeypatch.setattr(block, 'attend', lambda *a, **how: calls.append(how) or attend(*a, **how))
  for causal, attention in ((True, REFERENCE), (False, FIVES)):
    trace(make((Nope(),), (0, 5), layers=4, causal=causal, attention=attention))
    assert calls[-2:] == [dict(causal=causal, window=window, **attention) for window in (0, 5)]


def test_causal_models_refuse_encodings_that_read_later_tokens():
  encoding = Convolution(kernel=3, groups=4, causal=False)
  with pytest.raises(UserError, match='^encoding.convolution: it reads later tokens, which'):
    trace(make((encoding,), layers=1))
  trace(make((encoding,), layers=1, causal=False))


def test_layers_are_a_multiple_of_the_pattern():
  with pytest.raises(ValueError, match='^5 layers are not a multiple of a pattern of 2$'):
    assert make((Rope(), Nope()), layers=5).groups


def test_an_attention_unsupported_by_an_encoding_is_refused_early():
  config, _, _ = config_lib.load('fox', ['--config.attention.implementation=fused'])
  with pytest.raises(UserError, match='^attention.implementation: fused attention cannot .* fox'):
    state.build(config)


def test_angles_of_a_bfloat16_model_are_float32(monkeypatch):
  dtypes, own = [], Bound.position_features
  made = lambda *args: dtypes.append(args[2]) or own(*args)
  monkeypatch.setattr(Bound, 'position_features', made)
  trace(make(layers=1, dtype='bfloat16'))
  assert dtypes == [np.dtype('float32')]


def equations(jaxpr):
  for equation in jaxpr.eqns:
    yield equation
    for inner in jax.extend.core.jaxprs_in_params(equation.params):
      yield from equations(inner)


def test_bfloat16_products_stay_bfloat16_and_logits_are_not_rounded():
  untied = HeadSettings(tied=False)
  products = [
    [str(v.aval.dtype) for v in (*equation.invars, *equation.outvars)]
    for equation in equations(trace(make(layers=1, head=untied, dtype='bfloat16')).jaxpr)
    if equation.primitive.name == 'dot_general'
  ]
  narrow = ['bfloat16', 'bfloat16', 'bfloat16']
  # Seven matrices; scores and weighted values, which attention accumulates in float32.
  assert products[-1] == ['bfloat16', 'bfloat16', 'float32']
  assert products[:-1].count(narrow) == 7 and len(products) == 10


def test_a_cache_has_the_slots_that_each_layer_can_see():
  slots = lambda cache: [[memory.keys.h.shape[2] for memory in group] for group in cache.layers]
  model = make((Nope(),), (4, 0, 0), (0, 8, 0), layers=6)
  cache = model.init_cache(2, 64, slots=6)
  assert slots(cache) == 2 * [[4, 6, 6]]
  assert slots(model.grow(cache, 64)) == slots(model.init_cache(2, 64)) == 2 * [[4, 8, 64]]
