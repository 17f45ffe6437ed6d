"""Code in README and docs runs and gives the stated results."""

import pathlib
import re
import shlex
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from posjax import config, encodings, evaluate, state
from posjax import run as run_lib
from posjax.attention import attend
from posjax.dims import Dims
from posjax.encodings import Bound, Positions
from posjax.encodings.core.encoding import HOOKS, TRAITS
from posjax.tasks.core.registry import check_metrics
from tests.oracles import attention, kerple, rope
from tests.support.problem import DIMS, FIVES, REFERENCE, ROWS, draw, heads, place, segments
from tests.support.problem import attention as attention_of

ROOT = pathlib.Path(__file__).parents[1]


def blocks(page, heading):
  """Returns the Python blocks under a heading."""
  section = re.search(rf'\n## {heading}\n(.*?)(?:\n## |$)', (ROOT / page).read_text(), re.DOTALL)
  return re.findall(r'```python\n(.*?)```', section[1], re.DOTALL)


PAGES = ['README.md', *sorted(f'docs/{path.name}' for path in (ROOT / 'docs').glob('*.md'))]


@pytest.mark.parametrize('page', PAGES)
def test_named_files_exist(page):
  text = (ROOT / page).read_text()
  links = [(ROOT / page).parent / link for link in re.findall(r'\]\((?!http)([^)#]+)', text)]
  named = re.findall(r'(?:configs|experiments|tests|posjax|docs)/[\w/]+\.(?:py|md)', text)
  yours = ('power.py', 'fade.py', 'rotate.py')
  paths = links + [ROOT / name for name in named if not name.endswith(yours)]
  assert not [str(path) for path in paths if not path.exists()]


def test_command_lines_are_valid(monkeypatch):
  """The program accepts README's command lines, except for an encoding not yet written.

  Some commands use the folder of the first command.
  """
  rope = run_lib.parse(['posjax', '--config=configs/rope.py'])

  def record(workdir, which):
    assert (workdir, which) == (rope.workdir, 'newest')
    return {'config': config.to_dict(rope.config), 'checkpoint': 1000}

  monkeypatch.setattr(state, 'record', record)
  text = '\n'.join((ROOT / page).read_text() for page in PAGES)
  lines = re.findall(r'python -m posjax\.main (--[^`\n]*)', text)
  parsed = [run_lib.parse(['posjax', *shlex.split(line, comments=True)]) for line in lines
            if not re.search('power|fade|rotate|init.run', line)]
  assert len(parsed) > 20
  for run in parsed:
    state.build(run.config)


def random(*shape):
  return np.random.default_rng(sum(shape)).normal(size=shape)


def of_another_model(page, heading):
  """Returns the names that a block defines, given heads, positions, documents and the mask."""
  names = {}
  exec(blocks(page, heading)[0], names)
  q, k, v = random(2, 9, 4, 8), random(2, 9, 2, 8), 2 * random(2, 9, 2, 8)
  documents = np.array([[0, 0, 0, 0, 1, 1, 1, -1, -1], [0] * 9])
  positions = np.array([[0, 1, 2, 3, 0, 1, 2, 0, 0], [5, 6, 7, 8, 9, 10, 11, 12, 13]])
  order = np.tile(np.arange(9), (2, 1))
  seen = attention.visible(order, order, documents, documents, True, 0)
  return names, (q, k, v), positions, documents, seen


def test_attention_of_another_model():
  model = of_another_model('README.md', 'In your own Flax model')
  names, (q, k, v), positions, documents, seen = model
  with jax.enable_x64(True):
    arrays = map(jnp.asarray, (q, k, v, positions, documents))
    result = names['attention'](*arrays)
  expected = rope.attend(
    q / 8**0.5, k, v, positions, positions, seen,
    {'base': 500_000.0, 'fraction': 1.0, 'layout': 'half'}, {},
  )
  np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)


def test_attention_in_an_nnx_module():
  """Its output equals the oracle's, and its weights get gradients."""
  names, (q, k, v), positions, documents, seen = of_another_model('docs/attention.md', 'In NNX')
  weights = {'r1_N': random(4), 'r2_N': 2 * random(4)}
  with jax.enable_x64(True):
    module = names['Attention'](4, 2, 8, nnx.Rngs(0))
    nnx.update(module, {'weights': jax.tree.map(jnp.asarray, weights)})
    arrays = [*map(jnp.asarray, (q, k, v, positions, documents))]

    @nnx.jit
    def solve(module):
      loss = lambda module: jnp.sum(module(*arrays) ** 2)
      return module(*arrays), nnx.grad(loss)(module)

    result, gradient = solve(module)
  expected = kerple.attend(
    q / 8**0.5, k, v, positions, positions, seen, {'kernel': 'log'}, weights
  )
  np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)
  slopes = nnx.to_pure_dict(gradient)['weights']
  assert slopes.keys() == weights.keys() and all(np.all(x != 0) for x in slopes.values())


@pytest.fixture
def power(monkeypatch):
  """Installs the README's encoding as a module."""
  module = types.ModuleType('posjax.encodings.power')
  monkeypatch.setitem(sys.modules, module.__name__, module)
  exec(blocks('README.md', 'Add your own')[0], vars(module))
  return module.Power


def test_the_readme_encoding_works(power):
  dims = Dims(D=8, N=2, K=2, H=4)
  encoding = power(exponent=0.5).with_dims(dims)
  assert encodings.name_of(encoding) == 'power'
  assert encoding.init_weights(jax.random.key(0))['slope_N'].tolist() == [1.0, 1.0]
  slopes = np.array([0.5, 2.0])
  q, k, v = random(1, 6, 2, 4), 2 * random(1, 6, 2, 4), 3 * random(1, 6, 2, 4)
  order = np.arange(6)[None]
  with jax.enable_x64(True):
    row = jnp.arange(6)[None]
    at = Positions(row[..., None], row, jnp.zeros_like(row))
    bound = Bound(encoding, {'slope_N': jnp.asarray(slopes)})
    results = [
      attend(
        at.attach(jnp.asarray(q)), at.attach(jnp.asarray(k), jnp.asarray(v)), bound,
        implementation=implementation, block=4,
      )
      for implementation in ('reference', 'blockwise')
    ]

  def score(b, n, i, j):
    return q[b, i, n] @ k[b, j, n] - slopes[n] * abs(i - j) ** 0.5

  seen = attention.visible(order, order, 0 * order, 0 * order, True, 0)
  for result in results:
    np.testing.assert_allclose(result, attention.attend(score, v, seen, 2), rtol=1e-10, atol=1e-12)


def test_the_documented_encoding_equals_its_oracle(monkeypatch):
  module, page_oracle = (types.ModuleType(f'posjax.encodings.{name}') for name in ('fade', 'loops'))
  monkeypatch.setitem(sys.modules, module.__name__, module)
  files = blocks('docs/encodings.md', 'Step by step')
  for code, home in zip(files, (module, page_oracle), strict=True):
    exec(code, vars(home))
  encoding = module.Fade(start=-1.0)
  with jax.enable_x64(True):
    inputs, at = draw(encoding), place(encoding, segments(*ROWS))
    found = [attention_of(encoding, inputs, at, at, **way) for way in (REFERENCE, FIVES)]
  inputs, at = jax.tree.map(np.asarray, (inputs, at))
  q, k = heads(inputs['q'], DIMS.N) * DIMS.scale, heads(inputs['k'], DIMS.K)
  seen = attention.visible(at.order, at.order, at.segment_ids, at.segment_ids, True, 0)
  want = page_oracle.attend(
    q, k, inputs['v'], at.pos[..., 0], at.pos[..., 0], seen,
    {'start': -1.0}, inputs['weights'], [{'x': inputs['q']}, {'x': inputs['k']}],
  )
  for got in found:
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_the_documented_task_works():
  names = {}
  exec(blocks('docs/tasks.md', 'Write one')[0], names)
  task = names['Rotate'](rows=2)
  x, targets, weights, *_ = task.example(np.random.default_rng(0), 5)
  assert np.roll(x[1:6], -1).tolist() == x[7:].tolist() and weights.sum() == 6
  assert task.guess(20) == 1 / 16


def test_the_documented_task_with_a_label_per_example_works():
  names = {'__name__': 'first_marker'}
  exec(blocks('docs/tasks.md', 'One label for each example')[0], names)
  task = names['FirstMarker'](rows=8)
  check_metrics(task, 64)
  data = task.open(None, 64, [64, 128])
  (rows,) = (test.rows[128] for test in data.tests.values())
  assert rows.targets.shape == (8, 8) and rows.weights.sum() == 8
  first = [row[row < 2][0] for row in np.asarray(rows.stream.x)[:, :16]]
  assert [*rows.targets[:, 0]] == first
  # Outputs that put the label into the tokens of its segment are right, and no other ones.
  outputs = jax.nn.one_hot(np.repeat(rows.targets[:, :1], 128, axis=1), 2)
  assert evaluate.mean(*task.metrics(outputs, rows)['accuracy']) == 1
  assert evaluate.mean(*task.metrics(1 - outputs, rows)['accuracy']) == 0


def table(page, head):
  """Returns the rows of a Markdown table by the cell in their first column."""
  text = (ROOT / page).read_text().partition(head)[2].partition('\n\n')[0]
  rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()[2:]]
  return {row[0]: row[1:] for row in rows}


def test_the_table_of_traits_matches_the_declarations():
  declared = {f'`{name}`': [trait.says] for name, trait in TRAITS.items()}
  assert table('docs/encodings.md', '| trait | meaning |') == declared


def test_the_table_of_hooks_names_every_hook_once():
  cells = table('docs/encodings.md', '| hook | once per').keys()
  named = [name for cell in cells for name in re.findall(r'`(\w+)\(', cell)]
  assert named == [*HOOKS]
