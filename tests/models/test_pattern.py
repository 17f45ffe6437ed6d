"""Patterns of layers: names, traits, initial weights and draws. Weights of one layer, by letter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from posjax import dims
from posjax.dims import Dims
from posjax.encodings import Encoding
from posjax.encodings.fox import Fox
from posjax.encodings.learned import Learned
from posjax.encodings.nope import Nope
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.models.pattern import Pattern
from tests.support.problem import DIMS


def make(*encodings, **fields):
  return Pattern(tuple(encoding.with_dims(DIMS) for encoding in encodings), **fields)


# Patterns.


def test_each_encoding_has_one_name():
  rope, other, nope = (e.with_dims(DIMS) for e in (Rope(), Rope(base=5.0), Nope()))
  pattern = Pattern((rope, nope, other, rope, other), windows=(3,), chunks=(0, 0, 0, 4, 0))
  assert pattern.by_name == {'rope': rope, 'nope': nope, 'rope_2': other}
  assert pattern.layers() == [
    ('rope', 3, 0, 0), ('nope', 3, 0, 0), ('rope_2', 3, 0, 0), ('rope', 3, 4, 0),
    ('rope_2', 3, 0, 0),
  ]
  named = Pattern((rope, rope), names=('local', 'global'))
  assert [*named.by_name] == ['local', 'global'] and len(named) == 2
  assert named.layers() == [('local', 0, 0, 0), ('global', 0, 0, 0)]
  assert len(Pattern((rope,), chunks=(0, 4))) == len(Pattern((rope,), windows=(0, 4))) == 2


class Differences(Encoding):
  limit = 8, 4


class Places(Differences):
  shift_invariant = False


def test_differences_within_a_chunk_need_no_larger_table():
  """Only if the chunk fits on every axis, and only for encodings that read differences."""
  assert make(Rope(), Differences(), Learned(length=6)).limit == (6, 4)
  for chunk, limit in {4: None, 5: (8, 4), 0: (8, 4)}.items():
    assert make(Differences(), chunks=(chunk,)).limit == limit
  assert make(Places(), chunks=(4,)).limit == (8, 4)
  assert make(Differences(), chunks=(4, 0)).limit == (8, 4)


def test_a_pattern_is_shift_invariant_if_all_its_layers_are():
  """Chunks are not, because they begin at multiples of their length."""
  assert make(Rope(), Nope()).shift_invariant
  assert not make(Rope(), Learned()).shift_invariant
  assert not make(Rope(), chunks=(0, 4)).shift_invariant


def test_a_pattern_is_limited_by_all_its_layers():
  assert make(Learned(length=64), Rope(), Learned(length=32), Learned(length=48)).limit == 32
  assert make(Rope(), Nope()).limit is None


def test_encodings_start_with_separate_weights_and_equal_draws():
  fox = make(Fox(), Fox(), names=('one', 'other'))
  weights = fox.init_weights(jax.random.key(0), groups=8)
  one, other = (weights[name]['gate_LDN'].ravel() for name in fox.names)
  assert abs(np.corrcoef(one, other)[0, 1]) < 5 / one.size**0.5
  drawing = make(Randomize(places=90), Randomize(places=90), names=('one', 'other'))
  states, layers = drawing.init_states(2, 8, groups=3, train=True, rng=jax.random.key(1))
  np.testing.assert_array_equal(*jax.tree.leaves(states))
  assert layers == ((), ())


# Weights.


@pytest.mark.parametrize('name, letters', [
  ('query_DNH', 'DNH'), ('table_R', 'R'), ('r1_N', 'N'), ('scale', ''), ('bias', ''), ('of_1H', ''),
  ('gate_bias_LN', 'LN'), ('taps_LRKH', 'LRKH'), ('a_Dn', ''),
])
def test_letters_of_a_name(name, letters):
  assert dims.letters(name) == letters


class Weights(nn.Module):
  """A weight per layer, with its fan-in as deviation, and a shared one; `sizes` are extra."""

  dims: Dims
  sizes: tuple = (('R', 3),)

  @nn.compact
  def __call__(self):
    init = lambda rng, shape, dtype: shape[0] * jax.random.normal(rng, shape, dtype)
    make = lambda name: dims.weight(self, name, init, self.dims, **dict(self.sizes))
    return make('own_LDNR'), make('shared_NR')


def test_weights_per_layer_are_drawn_like_those_of_a_single_layer():
  layers = Dims(N=8, K=8, H=4, D=32, L=4)
  with jax.enable_x64(True):
    own, shared = Weights(layers).init_with_output(jax.random.key(0))[0]
  assert (own.shape, shared.shape) == ((4, 32, 8, 3), (8, 3))
  assert own.dtype == shared.dtype == jnp.float32
  flat = own.reshape(4, -1)
  np.testing.assert_allclose(flat.std(axis=1), 32, rtol=5 * (2 * flat.shape[1]) ** -0.5)
  assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 5 / flat.shape[1] ** 0.5
  within = Weights(Dims(N=8, K=8, H=4, D=32)).init_with_output(jax.random.key(0))[0]
  assert [w.shape for w in within] == [(32, 8, 3), (8, 3)]


def test_a_letter_without_a_size():
  with pytest.raises(ValueError, match=r'^weight own_LDNR: size of R unknown; pass it: weight\('):
    Weights(DIMS, sizes=()).init(jax.random.key(0))
