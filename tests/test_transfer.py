"""Copying weights between models: each layer gets those of the same layer, for any pattern.

All numbers of a source differ, so that a misplaced weight is noticed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import state, transfer
from posjax.config import identity
from posjax.dims import letters
from posjax.errors import UserError
from posjax.models import transformer


def build(layers, *settings, depth=4):
  """Returns a small model and weights whose numbers all differ."""
  settings = (
    f'encoding.layers={layers}', f'model.layers={depth}', 'model.dim=8', 'model.head_dim=4',
    'model.hidden=12', 'model.heads=2', 'model.kv_heads=2', *settings,
  )
  config, _, _ = config_lib.load('base', [f'--config.{setting}' for setting in settings])
  _, model = state.build(config)
  shapes = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  leaves, tree = jax.tree.flatten(shapes)
  ends = np.cumsum([leaf.size for leaf in leaves])
  numbers = [
    jnp.arange(end - leaf.size, end, dtype=jnp.float32).reshape(leaf.shape)
    for leaf, end in zip(leaves, ends, strict=True)
  ]
  return model, jax.tree.unflatten(tree, numbers)


def transferred(source, target, fresh=()):
  """Returns the target's weights after the copy, and the report on both models."""
  old, new = transfer.leaves(*source), transfer.leaves(*target)
  plan = transfer.plan(old, new, fresh)
  zeros = jax.tree.map(jnp.zeros_like, target[1])
  said = {str(each.leaf): str(each) for each in plan}
  left = {str(leaf): text for leaf, text in transfer.dropped(old, plan)}
  return transfer.fill(plan, zeros, source[1]), said, left


def by_layer(model, params):
  """Layer by layer: the block's weights, and the layer's rows of its encoding's weights."""
  layers, kinds = model.pattern.layers(), []
  seen = {}
  for i in range(model.layers):
    own = layers[i % len(layers)]
    row = seen[own.encoding] = seen.get(own.encoding, -1) + 1
    group, place = divmod(i, len(layers))
    block = jax.tree.map(lambda x, i=group: x[i], params['layers'][f'block_{place}'])
    of = lambda path, x, row=row: x[row] if letters(path[-1].key).startswith('L') else x
    encoding = jax.tree_util.tree_map_with_path(of, params['encoding'][own.encoding])
    kinds.append((block, encoding))
  return kinds


def equal(a, b):
  return jax.tree.structure(a) == jax.tree.structure(b) and all(
    np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


@pytest.mark.parametrize('old, new', [
  ('rope', 'rope,nope'), ('rope,nope', 'rope'), ('rope,nope', 'nope,rope,nope,nope'),
  ('shaw', 'shaw,shaw_wide'), ('shaw,nope', 'nope,shaw,nope,shaw'), ('t5', 't5,nope'),
])
def test_layers_get_their_weights_under_every_pattern(old, new):
  source, target = build(old), build(new)
  params, said, left = transferred(source, target)
  before, after = by_layer(*source), by_layer(target[0], params)
  kinds = [
    [model.pattern.layers()[i % len(model.pattern)].encoding.partition('_')[0] for i in range(4)]
    for model, _ in (source, target)
  ]
  for i in range(4):
    assert equal(before[i][0], after[i][0])
    if kinds[0][i] == kinds[1][i]:
      assert equal(before[i][1], after[i][1])
    else:
      assert not any(np.any(x) for x in jax.tree.leaves(after[i][1]))
  blocks = [text for name, text in said.items() if not name.startswith('encoding')]
  assert {*blocks} == {'taken'} and not [name for name in left if not name.startswith('encoding')]


def test_encoding_weights_are_copied_into_and_out_of_chains():
  source, target = build('fox,nope'), build('rope+fox')
  params, said, left = transferred(source, target)
  old, new = source[1]['encoding']['fox'], params['encoding']['rope+fox']['fox']
  for name, weight in old.items():
    for row, layer in enumerate((0, 2)):
      np.testing.assert_array_equal(new[name][layer], weight[row])
    for layer in (1, 3):
      assert not np.any(new[name][layer])
    assert said[f'encoding/rope+fox/fox/{name}'] == (
      'taken in layers 0, 2, fresh in the others: not in the source'
    )
  back, said, left = transferred((target[0], target[1]), source)
  for name, weight in target[1]['encoding']['rope+fox']['fox'].items():
    np.testing.assert_array_equal(back['encoding']['fox'][name], weight[jnp.array([0, 2])])
    assert left[f'encoding/rope+fox/fox/{name}'] == 'dropped in layers 1, 3'


def test_a_longer_table_begins_with_a_shorter_one():
  """The rest keeps initial values; a shorter table is fresh, and so is a longer distance table."""
  old, new = (build('learned', f'encoding.learned.length={n}') for n in (5, 9))
  params, said, left = transferred(old, new)
  table = params['encoding']['learned']['table_RD']
  np.testing.assert_array_equal(table[:5], old[1]['encoding']['learned']['table_RD'])
  assert not np.any(table[5:])
  assert said['encoding/learned/table_RD'] == 'taken, the first 5 rows' and not left
  _, said, left = transferred(new, old)
  assert said['encoding/learned/table_RD'] == 'fresh: the source has (9, 8), not (5, 8)'
  assert left == {'encoding/learned/table_RD': 'dropped'}
  near, far = (build('shaw', f'encoding.shaw.clip={n}') for n in (2, 4))
  _, said, _ = transferred(near, far)
  assert said['encoding/shaw/keys_LRH'] == 'fresh: the source has (5, 4), not (9, 4)'


def test_a_larger_vocabulary_begins_with_the_smaller_one():
  model, params = build('nope', 'model.head.tied=False')
  more = model.clone(vocabulary=model.vocabulary + 3, outputs=model.outputs + 3)
  shapes = jax.eval_shape(lambda: transformer.init(more, jax.random.key(0)))
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
  new, said, _ = transferred((model, params), (more, zeros))
  for name, rows in (('table_VD', np.s_[:-3]), ('head_DV', np.s_[:, :-3])):
    np.testing.assert_array_equal(new[name][rows], params[name])
    assert said[name] == 'taken, the first 257 rows'
    assert np.count_nonzero(new[name]) == np.count_nonzero(params[name])


def test_other_depths_and_widths():
  source = build('rope')
  deeper, said, left = transferred(source, build('rope', depth=6))
  first = jax.tree.map(lambda x: x[:4], deeper['layers'])
  assert equal(first, source[1]['layers'])
  assert not any(np.any(x[4:]) for x in jax.tree.leaves(deeper['layers']))
  assert said['layers/block_0/mlp/up_DF'] == (
    'taken in layers 0 to 3, fresh in the others: not in the source'
  )
  _, said, left = transferred(source, build('rope', depth=2))
  assert said['layers/block_0/mlp/up_DF'] == 'taken'
  assert left['layers/block_0/mlp/up_DF'] == 'dropped in layers 2 to 3'
  _, said, _ = transferred(source, build('rope', 'model.hidden=16'))
  assert said['layers/block_0/mlp/up_DF'] == 'fresh: the source has (8, 12), not (8, 16)'
  assert said['layers/block_0/attention/query_DNH'] == 'taken'


def test_fresh_by_pattern():
  source = build('t5')
  params, said, left = transferred(source, build('t5'), ('encoding/*', 'layers/*/mlp/up_DF'))
  assert {name for name, text in said.items() if text == 'fresh: init.fresh names it'} == {
    'encoding/t5/table_RN', 'layers/block_0/mlp/up_DF',
  }
  assert {*left} == {'encoding/t5/table_RN', 'layers/block_0/mlp/up_DF'}
  assert not np.any(params['encoding']['t5']['table_RN'])


@pytest.mark.parametrize('numbers, text', [
  ([0], '0'), ([0, 1], '0 to 1'), ([0, 2, 3, 4, 7], '0, 2 to 4, 7'),
])
def test_numbers_in_words(numbers, text):
  assert transfer.listed(numbers) == text


def test_checkpoints_of_another_version_are_refused():
  state.check_format({'format': identity.FORMAT, 'code': '0.1.0+1234567'}, 'run')
  for record in ({'code': '0.1.0+1234567'}, {'format': 1, 'code': '0.1.0+1234567'}):
    with pytest.raises(UserError) as error:
      state.check_format(record, 'run')
    assert str(error.value) == (
      'run: its checkpoints were written by posjax 0.1.0+1234567, in a format that this version '
      'cannot read; choose another --workdir'
    )
