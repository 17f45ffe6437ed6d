"""One layer by hand: norms, MLPs, and dropout of the output of each half block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.dims import Dims
from posjax.encodings import Bound, Positions
from posjax.encodings.nope import Nope
from posjax.models.block import Block, LayerCache
from posjax.models.settings import MlpSettings, NormSettings
from tests.support.problem import REFERENCE, close

pytestmark = pytest.mark.usefixtures('float64')


def make(**fields):
  plain = dict(
    dims=Dims(D=32, N=4, K=2, H=8, F=48), depth=1, dtype='float64', norm=NormSettings(),
    mlp=MlpSettings(), biases=('norm',), dropout=0.0, train=False, causal=True, window=0,
    attention=REFERENCE,
  )
  return Block(**(plain | fields))


def solve(block, batch, *, silent, **rngs):
  """Returns a random stream, the block's output, and its weights; weights in `silent` are 0."""
  rng = np.random.default_rng(0)
  x_BTD = jnp.asarray(rng.normal(size=(batch, 12, 32)))
  order = jnp.arange(12)[None]
  at = Positions(order[..., None], order, jnp.zeros_like(order))
  arguments = x_BTD, LayerCache(None, ()), None, at, Bound(Nope())
  shapes = jax.eval_shape(block.init, jax.random.key(0), *arguments)['params']
  draw = lambda path, x: jnp.asarray(rng.normal(size=x.shape) * (path[-1].key != silent))
  params = jax.tree_util.tree_map_with_path(draw, shapes)
  y_BTD, memory = jax.jit(block.apply)({'params': params}, *arguments, rngs=rngs)
  assert memory == LayerCache(None, ())
  return x_BTD, y_BTD, params


def test_layernorm_and_gelu():
  block = make(norm=NormSettings('layernorm'), mlp=MlpSettings(False, 'gelu_tanh'))
  x, y, params = solve(block, 2, silent='output_NHD')
  mlp, norm = params['mlp'], params['mlp_norm']
  assert params['attention_norm'].keys() == norm.keys() == {'scale', 'bias'}
  h = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
  h = (h * norm['scale'] + norm['bias']) @ mlp['up_DF']
  h = h / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (h + 0.044715 * h**3)))
  close(y, x + h @ mlp['down_FD'])


def test_rmsnorm_and_swiglu():
  x, y, params = solve(make(), 2, silent='output_NHD')
  mlp, norm = params['mlp'], params['mlp_norm']
  h = x / np.sqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6) * norm['scale']
  gate = h @ mlp['gate_DF']
  close(y, x + (h @ mlp['up_DF'] * gate / (1 + np.exp(-gate))) @ mlp['down_FD'])


@pytest.mark.parametrize('silent', ['down_FD', 'output_NHD'])
def test_dropout_of_a_block_keeps_the_mean(silent):
  """Each number is independently set to 0 or divided by 1 - rate."""
  x, y, _ = solve(make(), 32, silent=silent)
  close(solve(make(dropout=0.25), 32, silent=silent)[1], y, 0, 0)  # off at evaluation
  block = make(dropout=0.25, train=True)
  _, dropped, _ = solve(block, 32, silent=silent, dropout=jax.random.key(1))
  kept = np.abs(dropped - x) > 0
  close(dropped, x + np.where(kept, (y - x) / 0.75, 0))
  assert abs(kept.mean() - 0.75) < 5 * (0.75 * 0.25 / kept.size) ** 0.5
