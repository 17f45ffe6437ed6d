"""The plan of a step: its FLOPs are those of the matrix products that the program really holds."""

import math
import types

import jax
import jax.extend
import jax.numpy as jnp
import pytest

from posjax import command_line, plan, report, train, transformer
from posjax import config as config_lib
from posjax.encodings import At


def products(jaxpr, times=1):
  """FLOPs of all matrix products in a jaxpr, those of a scan's body once for each turn."""
  total = 0
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      (contracted, _), _ = equation.params['dimension_numbers']
      left = equation.invars[0].aval.shape
      out = math.prod(equation.outvars[0].aval.shape)
      total += 2 * times * out * math.prod(left[axis] for axis in contracted)
    turns = equation.params.get('length', 1) if equation.primitive.name == 'scan' else 1
    for inner in jax.extend.core.jaxprs_in_params(equation.params):
      total += products(inner, times * turns)
  return total


def seen_by_hand(length, window, chunk):
  return sum(
    1 for i in range(length) for j in range(i + 1)
    if i - j < (window or length) and i // (chunk or length) == j // (chunk or length)
  )


@pytest.mark.parametrize('overrides', [
  (),
  ('model.tied=false', 'model.activation=gelu', 'model.kv_heads=2'),
  ('encoding.layers=nope,nope', 'model.windows=0,0', 'model.layers=4'),
  ('encoding.layers=learned',),  # its table is looked up
  ('model.windows=0,5', 'model.chunks=24,0', 'model.layers=4'),
])
def test_flops_are_three_forward_passes(overrides):
  settings = ('attention.implementation=reference', *overrides)
  config, _, _ = command_line.load('nope', [f'--config.{setting}' for setting in settings])
  model = transformer.from_config(config)
  params = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  B, T = config.train.batch, config.train.length
  row = jnp.zeros((1, T), jnp.int32)

  def forward(params, tokens):
    return model.apply({'params': params}, tokens, At(row[..., None], row, row))[0]

  jaxpr = jax.make_jaxpr(forward)(params, jax.ShapeDtypeStruct((B, T), jnp.int32))
  pair = 4 * model.heads * model.head_dim  # its score, and what is read by it
  scores = B * T * T * model.layers * pair
  layers = model.pattern.layers() * (model.layers // len(model.pattern))
  seen = B * sum(seen_by_hand(T, own.window, own.chunk) for own in layers) * pair
  forward_flops = products(jaxpr.jaxpr) - scores + seen
  assert plan.flops_per_step(config, model, params) == pytest.approx(3 * forward_flops, rel=1e-12)


@pytest.mark.parametrize(
  ('length', 'window', 'chunk', 'seen'),
  [
    (4, 0, 0, 10), (4, 4, 0, 10), (4, 1, 0, 4), (5, 2, 0, 9), (5, 0, 2, 7), (8, 2, 3, 13),
    (5, 1, 3, 5),
  ],
)
def test_pairs_in_a_window_and_a_chunk(length, window, chunk, seen):
  assert plan.pairs(length, window, chunk) == seen_by_hand(length, window, chunk) == seen


@pytest.mark.parametrize(
  ('size', 'millions'), [('small', 25.83), ('base', 127.63), ('large', 1316.07)]
)
def test_sizes_have_the_parameters_that_they_say(size, millions):
  config, _, _ = config_lib.load(f'rope:{size}')
  model = transformer.from_config(config)
  params = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  assert report.count(params) / 1e6 == pytest.approx(millions, abs=0.005)


def test_what_a_dry_run_says(monkeypatch, capsys):
  """Of a step that XLA plans 3 GiB for, 2 of them temporaries."""
  memory = types.SimpleNamespace(argument_size_in_bytes=2**30, temp_size_in_bytes=2**31)
  step = types.SimpleNamespace(memory_analysis=lambda: memory)
  step.lower = lambda *_: types.SimpleNamespace(compile=lambda: step)
  monkeypatch.setattr(train, 'make_step', lambda *_: step)
  config, _, _ = command_line.load('nope', ['--config.mesh=2,4,1'])
  plan.run(config, 'a name')
  weights = 257 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 192)  # and 5 norms
  flops = 16 * 64 * (6 * weights + 12 * 2 * 65 / 2 * 64)
  assert capsys.readouterr().out.splitlines() == [
    'config      a name', f'parameters  {weights + 5 * 64:,}',
    f'FLOPs       {flops:.3e} a step, {flops / 1024:.3e} a byte',
    'mesh        data 2, fsdp 4, tensor 1',
    'memory      3.00 GiB a device: state and batch 1.00, temporaries 2.00',
  ]
