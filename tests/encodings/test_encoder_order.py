"""An encoder learns from each encoding exactly the order of tokens that the encoding declares.

Each row of a batch holds the same 12 tokens, on a line or on a grid: in order, permuted, mirrored.
If each token gets the same output in all rows, the encoder is a bag of words; if only in the
mirrored row, it does not tell left from right. Both then hold for any number of layers.
"""

import dataclasses
import pathlib
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import encodings, run_summary
from posjax.attention import attend
from posjax.encodings import Bound, Chain, Positions, name_of, parts_of
from posjax.encodings.alibi import Alibi
from posjax.encodings.core.chain import overrides
from posjax.encodings.dape import Dape
from posjax.encodings.hard_alibi import HardAlibi
from posjax.encodings.head_scale import HeadScale
from posjax.encodings.kerple import Kerple
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.encodings.sinusoidal import Sinusoidal
from posjax.encodings.t5 import T5
from posjax.encodings.temperature import Temperature
from posjax.models.pattern import Pattern
from tests.conftest import examples, on_each, title
from tests.support import problem

pytestmark = pytest.mark.usefixtures('float64')

T = 12
DIMS = dataclasses.replace(problem.DIMS, causal=False)
CAPACITY = 1024  # beyond all `places`: positions drawn from them are then consecutive
# The digits, separators and operators of EXAMPLES make numbers and sentences in this text.
TEXT_T = np.array([2, 10, 0, 3, 5, 11, 7, 1, 8, 6, 4, 9])
ORDERS_3T = np.array([np.arange(T), np.random.default_rng(0).permutation(T), np.arange(T)[::-1]])

# These run every time; the other ones are marked slow.
FAST = {
  'nope', 'head_scale', 'alibi', 'alibi-bias_max=4.0-learned=apart', 'kerple', 'sandwich',
  'dape-width=5', 'rope', 'sinusoidal', 'nope+alibi',
}
UNIFORM, LLAMA4 = Temperature('uniform'), Temperature('llama4', length=5, beta=0.5)
OTHERS = [  # arguments that change the trait, and chains
  Alibi(learned='alike'), Dape(base='alibi', width=3, arguments=dict(learned='apart')),
  HardAlibi(windowed=0), HardAlibi(windowed=1), HardAlibi(windowed=2), Kerple('log3'),
  Kerple('weighted'), UNIFORM, Temperature('drope'), Temperature('ministral', length=5, beta=0.5),
  Chain((Nope(), Alibi())), Chain((HeadScale(), UNIFORM)), Chain((UNIFORM, Alibi())),
  Chain((LLAMA4, Alibi())), Chain((Kerple(), Alibi())), Chain((Alibi(), T5(8, 40))),
  Chain((Alibi(), Rope())), Chain((HeadScale(), Sinusoidal())),
]


def own_part(name, encoding):
  """Returns the part `name` of a chain; if it moves positions, with ALiBi, which reads them."""
  (part,) = [part for part in parts_of(encoding) if name_of(part) == name]
  return Chain((part, Alibi())) if overrides(part, 'positions') else part


def cases():
  shelf = [
    (name, own) for name in encodings.names() for encoding in examples(name)
    for own in on_each(encoding)
  ]
  found = [encoding for _, encoding in shelf] + [own_part(*each) for each in shelf] + OTHERS
  named = {title(encoding): encoding for encoding in found if not encoding.causal_only}
  for name, encoding in named.items():
    yield pytest.param(encoding, id=name, marks=[] if name in FAST else [pytest.mark.slow])


def changes(encoding):
  """Returns how far each token's output changes in the permuted and the mirrored row, [2, T]."""
  dims = dataclasses.replace(problem.dims_of(encoding), causal=False)
  drawn = problem.draw(encoding, batch=1)  # 'q' is the embedded text
  rng = np.random.default_rng(4)
  project_3DNH = rng.normal(size=(3, DIMS.D, DIMS.N, DIMS.H)) / DIMS.D**0.5

  @jax.jit
  def outputs(weights, x_BTD, at):
    bound = Bound(encoding.with_dims(dims), weights)
    state = bound.module.init_state(len(ORDERS_3T), CAPACITY, False, jax.random.key(3))
    at, sequence = bound.locate(at, state.sequence, x_BTD.dtype)
    x_BTD, _ = bound.embed(x_BTD, at, sequence)
    features, _ = bound.features(x_BTD, at, state.layer)
    q, k, v = (jnp.einsum('BTD,DNH->BTNH', x_BTD, w_DNH) for w_DNH in project_3DNH)
    k, v = k[:, :, : DIMS.K], v[:, :, : DIMS.K]
    q = bound.query(at.attach(DIMS.scale * q, v, features))
    k = bound.key(at.attach(k, v, features))
    return attend(q, k, bound, causal=False, **problem.REFERENCE)

  count_1T, ids_3T = jnp.arange(T, dtype=jnp.int32)[None], jnp.int32(TEXT_T[ORDERS_3T])
  places = [count_1T] if dims.P == 1 else jnp.divmod(count_1T, 4)
  at = Positions(jnp.stack(places, axis=-1), count_1T, 0 * count_1T, ids=ids_3T)
  o_BTNH = np.asarray(outputs(drawn['weights'], drawn['q'][0, ORDERS_3T], at))
  change = [o_BTNH[row] - o_BTNH[0, ORDERS_3T[row]] for row in (1, 2)]
  return np.abs(change).max(axis=(2, 3))


@pytest.mark.parametrize('encoding', [*cases()])
def test_an_encoder_learns_the_declared_order(encoding):
  permuted_T, mirrored_T = changes(encoding)
  moved = [change_T.max() > 1e-3 for change_T in (permuted_T, mirrored_T)]
  found = {(False, False): 'nothing', (True, False): 'distance', (True, True): 'order and side'}
  assert found[tuple(moved)] == encoding.encoder_order
  for change_T, told in zip((permuted_T, mirrored_T), moved, strict=True):
    assert told or change_T.max() < 1e-10


def cell(name):
  """Returns the text in the column of docs/shelf.md for an encoding with default arguments."""
  encoding = encodings.find(name)()
  if encoding.causal_only:
    return 'causal only'
  moves = overrides(encoding, 'positions') and encoding.encoder_order == 'nothing'
  return 'as the next encoding' if moves else encoding.encoder_order


def test_the_column_of_the_shelf():
  page = (pathlib.Path(__file__).parents[2] / 'docs/shelf.md').read_text()
  rows = re.findall(r'^\| \[`(\w+)`\]\(.*\| ([^|]*) \|$', page, re.MULTILINE)
  assert dict(rows) == {name: cell(name) for name in encodings.names()}


@pytest.mark.parametrize('pattern, form, expected', [
  (Pattern((Alibi(),)), 'encoder', ['alibi does not tell left from right']),
  (
    Pattern((Nope(), HeadScale())), 'encoder',
    ['nope, head_scale does not tell the order of tokens'],
  ),
  (Pattern((Nope(),), windows=(4,)), 'encoder', ['nope does not tell left from right']),
  (Pattern((Nope(),), chunks=(4,)), 'encoder', []),
  (Pattern((Alibi(), Rope())), 'encoder', []),
  (Pattern((Alibi(),)), 'decoder', []),
])
def test_the_first_lines_of_a_run(pattern, form, expected):
  setup = SimpleNamespace(model=SimpleNamespace(pattern=pattern), task=SimpleNamespace(form=form))
  lines = [f'order      an encoder with {words}' for words in expected]
  assert run_summary.unordered(setup) == lines
