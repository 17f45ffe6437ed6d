"""Products of activations and weights: equal to the plain product, in a form fast on CPUs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from posjax import sharding
from posjax.models import product as product_lib
from posjax.models.product import product
from tests.support.meshes import mesh_of
from tests.support.problem import close

MANY = product_lib.FEW // 4 + 1  # tokens of each of four rows
SHAPES = [  # of x, of w, and the number of contracted axes
  ((4, MANY, 6), (6, 10), 1),
  ((4, MANY, 6), (6, 4), 1),
  ((4, MANY, 6), (6, 4, 2), 1),
  ((4, MANY, 4, 2), (4, 2, 6), 2),
  ((3, 1, 6), (6, 4, 2), 1),
  ((6,), (6, 4), 1),
]


def arrays(*shapes, dtype='float64'):
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def pulled(function, x, w):
  y, pull = jax.vjp(function, x, w)
  return y, pull(jnp.cos(y))


def compare(cases):
  """Evaluates (function of a product, x, w) with this and the plain product, in one program."""

  @jax.jit
  def both(inputs):
    return [
      [pulled(function(way), *given) for (function, *_), given in zip(cases, inputs, strict=True)]
      for way in (product, jnp.tensordot)
    ]

  close(*both([given for _, *given in cases]), 1e-12, 1e-12)


def test_product_and_gradients_equal_the_plain_product(float64):
  compare([
    (lambda way, axes=axes: lambda x, w: way(x, w, axes), *arrays(*shapes))
    for *shapes, axes in SHAPES
  ])


def test_transformations_keep_the_gradients(float64):
  """Checks a scan over layers with remat, and a vmap over weights of one layer."""

  def layers(product):
    layer = jax.checkpoint(lambda x, w: (jnp.sin(product(x, w, 1)), None), prevent_cse=False)
    return lambda x, w: jax.lax.scan(layer, x, w)[0]

  each = lambda product: jax.vmap(lambda x, w: product(x, w, 1), (None, 0))
  x, w = arrays((4, MANY, 6), (3, 6, 6))
  compare([(layers, x, w), (each, x, w)])


@pytest.mark.parametrize('x, w, axes, spec', [
  ((8, MANY, 6), (6, 4, 2), 1, ('fsdp', 'tensor')),
  ((8, MANY, 4, 2), (4, 2, 6), 2, ('tensor', None, 'fsdp')),
])
def test_eight_devices_give_the_gradients_of_one(float64, x, w, axes, spec):
  x, w = arrays(x, w)
  run = jax.jit(lambda x, w: pulled(lambda x, w: product(x, w, axes), x, w))
  want = run(x, w)
  mesh = mesh_of(2, 2, 2)
  x = jax.device_put(x, sharding.batch_sharding(mesh))
  w = jax.device_put(w, NamedSharding(mesh, PartitionSpec(*spec)))
  with jax.set_mesh(mesh):
    close(run(x, w), want, 1e-12, 1e-12)


def operations(x, w, dtype):
  """Returns the jaxpr of the product and its gradients."""
  x, w = arrays(x, w, dtype=dtype)
  return str(jax.make_jaxpr(lambda x, w: pulled(product, x, w))(x, w))


@pytest.mark.parametrize('inputs, outputs', [(6, 10), (10, 6)])
def test_the_smaller_operand_is_transposed_first(inputs, outputs):
  """If the outputs are smaller, the result is transposed, after all products."""
  found = operations((4, MANY, inputs), (inputs, outputs), 'float32')
  assert found.count('optimization_barrier') == (1 if inputs < outputs else 2)
  rows = 4 * MANY
  assert f'f32[6,{rows}] = optimization_barrier' in found and f'f32[10,{rows}]' not in found
  *_, last = (line for line in found.splitlines() if 'dot_general' in line)
  assert 'f32[6,10]' in last
  assert "(([1], [0]), ([], []))" in found.split('f32[6,10] = dot_general')[1]


def test_few_rows_are_transposed_instead_of_the_weights():
  forward = jax.make_jaxpr(product)
  few, more = (str(forward(*arrays((rows, 6), (6, 10)))) for rows in (32, 33))
  assert '[6,32] = optimization_barrier' in few and '(([0], [0]), ([], []))' in few
  assert 'optimization_barrier' not in more and '(([1], [0]), ([], []))' in more


@pytest.mark.parametrize('dtype, backend', [('bfloat16', 'cpu'), ('float32', 'gpu')])
def test_other_dtypes_and_backends_use_the_plain_product(monkeypatch, dtype, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  x, w = arrays((2, 4, 6), (6, 4, 2), dtype=dtype)
  jaxprs = [
    str(jax.make_jaxpr(lambda x, w, one=one: pulled(one, x, w))(x, w))
    for one in (product, lambda x, w: jnp.tensordot(x, w, 1))
  ]
  assert jaxprs[0] == jaxprs[1] and 'optimization_barrier' not in jaxprs[0]
