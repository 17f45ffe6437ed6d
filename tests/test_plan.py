"""The plan of a step: its FLOPs equal those of the matrix products in the program.

Also the verdict: what fits on a device, and the smallest change that makes it fit.
"""

import math
import types
from unittest import mock

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import plan, run_summary, state, train_step
from posjax.collectives import Collective
from posjax.encodings import Positions
from posjax.errors import UserError
from posjax.models import pattern, transformer
from posjax.runtime import devices, memory


def products(jaxpr, times=1):
  """Returns the FLOPs of all matrix products in a jaxpr; a scan's body counts per iteration."""
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
  ('model.head.tied=false', 'model.mlp.gated=false', 'model.kv_heads=2'),
  ('encoding.layers=nope,nope', 'model.windows=0,0', 'model.layers=4'),
  ('encoding.layers=learned',),  # a table lookup has no FLOPs
  ('model.windows=0,5', 'model.chunks=24,0', 'model.layers=4'),
])
def test_flops_are_three_forward_passes(overrides):
  settings = ('attention.implementation=reference', *overrides)
  config, _, _ = config_lib.load('nope', [f'--config.{setting}' for setting in settings])
  _, model = state.build(config)
  params = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  B, T = config.train.batch, config.train.length
  row = jnp.zeros((1, T), jnp.int32)

  def forward(params, tokens):
    return model.apply({'params': params}, tokens, Positions(row[..., None], row, row))[0]

  jaxpr = jax.make_jaxpr(forward)(params, jax.ShapeDtypeStruct((B, T), jnp.int32))
  pair = 4 * model.heads * model.head_dim  # its score and its weighted value
  scores = B * T * T * model.layers * pair
  layers = model.pattern.layers() * (model.layers // len(model.pattern))
  seen = B * sum(seen_by_hand(T, own.window, own.chunk) for own in layers) * pair
  forward_flops = products(jaxpr.jaxpr) - scores + seen
  assert plan.flops_per_step(config, model, params) == pytest.approx(3 * forward_flops, rel=1e-12)


@pytest.mark.parametrize('overrides', [
  ('task.name=masked', 'model.biases=query,up,head', 'model.head.layer=true'),
  ('task.name=copy', 'model.form=encoder_decoder', 'model.embedding.types=2'),
  ('model.layer=gru', 'model.layers=3'),
])
def test_flops_of_encoders_and_recurrent_models(overrides):
  """Encoders and attention to them see all pairs; a recurrent model has no pairs."""
  settings = ('attention.implementation=reference', *overrides)
  config, _, _ = config_lib.load('nope', [f'--config.{setting}' for setting in settings])
  task, model = state.build(config)
  params = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  B, T = config.train.batch, config.train.length
  batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((B, *x.shape[1:]), x.dtype), task.row(T))
  forward = lambda params, batch: transformer.outputs_of(model, params, batch)
  found = products(jax.make_jaxpr(forward)(params, batch).jaxpr)
  if model.encoder:  # the decoder's own masked pairs do not count
    masked = model.layers * B * (T * T - T * (T + 1) // 2)
    found -= masked * 4 * model.heads * model.head_dim
  assert plan.flops_per_step(config, model, params) == pytest.approx(3 * found, rel=1e-12)


@pytest.mark.parametrize(
  ('length', 'window', 'chunk', 'seen'),
  [
    (4, 0, 0, 10), (4, 4, 0, 10), (4, 1, 0, 4), (5, 2, 0, 9), (5, 0, 2, 7), (8, 2, 3, 13),
    (5, 1, 3, 5),
  ],
)
def test_pairs_in_a_window_and_a_chunk(length, window, chunk, seen):
  assert pattern.pairs(length, window, chunk, True) == seen_by_hand(length, window, chunk) == seen


@pytest.mark.parametrize(
  ('size', 'millions'), [('small', 25.83), ('base', 127.63), ('large', 1316.07)]
)
def test_sizes_have_the_documented_number_of_parameters(size, millions):
  config, _, _ = config_lib.load(f'rope:{size}')
  _, model = state.build(config)
  params = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  assert run_summary.count(params) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.fixture
def dry_run(monkeypatch, capsys):
  """Runs `plan.run` with a stand-in for the compiler; returns exit code and printed lines.

  A step takes 1 GiB of state, sharded over fsdp, and 8 GiB of temporaries, or 4 under remat,
  divided by the number of microbatches. It sends `messages`.
  """
  compiled = []

  def memory(config):
    compiled.append(config)
    temporaries = 2**32 if config.model.remat else 2**33
    return 2**30 // config.mesh.fsdp, temporaries // config.train.accumulate

  def run(*overrides, device='', memory=memory, data=None, messages=(), slices=0):
    load = mock.Mock(side_effect=[data or types.SimpleNamespace(name='a corpus')])
    monkeypatch.setattr(plan, 'compile_step', lambda config: plan.Step(*memory(config), messages))
    monkeypatch.setattr(state.Setup, 'open', load)
    config, _, _ = config_lib.load('nope', [f'--config.{setting}' for setting in overrides])
    try:
      code = plan.run(config, 'a name', device, slices)
    except UserError as error:
      code = str(error)
    return code, capsys.readouterr().out.splitlines()

  run.compiled = compiled
  return run


def give_memory(monkeypatch, gib):
  monkeypatch.setattr(memory, 'device_memory', lambda: gib * 2**30)


def test_lines_of_a_dry_run(monkeypatch, dry_run):
  give_memory(monkeypatch, 9)
  weights = 257 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 192)  # and 5 norms
  flops = 16 * 64 * (6 * weights + 12 * 2 * 65 / 2 * 64)
  assert dry_run('mesh.data=8') == (0, [
    'config      a name', f'parameters  {weights + 5 * 64:,}',
    f'FLOPs       {flops:.3e} a step, {flops / 1024:.3e} a byte',
    'mesh        data 8, fsdp 1, seq 1, tensor 1',
    'memory      9.00 GiB a device: weights 0.00 GiB, optimizer 0.00 GiB, batch 0.00 GiB, '
    'temporaries 8.00 GiB',
    'verdict     fits: cpu has 9.00 GiB a device',
    'data        a corpus',
  ])


REMAT, TWICE = '--config.model.remat=true', '--config.train.accumulate=2'
FSDP = '--config.mesh.data=1 --config.mesh.fsdp=8'


@pytest.mark.parametrize('settings, gib, tried, last', [
  (['mesh.data=8'], 5, [f'{REMAT}: 5.00 GiB'], f'{REMAT}: 5.00 GiB'),
  (
    ['mesh.data=8', 'model.remat=true'], 3, [f'{TWICE}: 3.00 GiB'], f'{TWICE}: 3.00 GiB',
  ),
  (
    ['mesh.data=8'], 4,
    [f'{REMAT}: 5.00 GiB', f'{TWICE}: 5.00 GiB', f'{REMAT} {TWICE}: 3.00 GiB'],
    f'{REMAT} {TWICE}: 3.00 GiB',
  ),
  (
    ['mesh.data=8', 'model.remat=true'], 2.5,
    [f'{TWICE}: 3.00 GiB', f'{FSDP} {TWICE}: 2.12 GiB', f'{FSDP}: 4.12 GiB'],
    f'{FSDP} {TWICE}: 2.12 GiB',
  ),
  (  # 64 rows per device; each try halves the remaining range
    ['mesh.data=8', 'train.batch=512', 'model.remat=true'], 1.25,
    [f'--config.train.accumulate={n}: {1 + 4 / n:.2f} GiB' for n in (64, 8, 32, 16)],
    '--config.train.accumulate=16: 1.25 GiB',
  ),
])
def test_the_least_change_that_fits(settings, gib, tried, last, monkeypatch, dry_run):
  give_memory(monkeypatch, gib)
  code, said = dry_run(*settings)
  verdict = said.index(f'verdict     does not fit: cpu has {gib:.2f} GiB a device')
  assert said[verdict + 1 :] == [
    *(f'tried       {line}' for line in tried), f'fits with   {last}', 'data        a corpus',
  ]
  assert code == 2 and len(dry_run.compiled) == 1 + len(tried)
  for config in dry_run.compiled:
    state.setup(config)  # every tried config is valid


def test_a_remedy_keeps_data_across_slices(monkeypatch, dry_run):
  give_memory(monkeypatch, 2.4)
  _, said = dry_run('mesh.data=4', 'mesh.fsdp=2', 'model.remat=true', slices=2)
  assert f'tried       --config.mesh.data=2 --config.mesh.fsdp=4 {TWICE}: 2.25 GiB' in said
  give_memory(monkeypatch, 1)
  _, said = dry_run('mesh.data=2', 'mesh.fsdp=4', 'model.remat=true', 'train.batch=8', slices=2)
  assert not [line for line in said if line.startswith('tried')]
  code, said = dry_run('mesh.data=1', 'mesh.fsdp=8', slices=2)
  assert said == [] and code.startswith('mesh.data = 1: must be a multiple of the 2 slices')


@pytest.mark.parametrize('settings, last', [
  (['model.remat=true', 'train.batch=8'], 'the least is 4.12 GiB: take more devices, a smaller'),
  (['model.remat=true'], f'the least is 2.12 GiB with {TWICE}: take more devices, a smaller'),
  (['model.remat=true', 'train.batch=24'], 'the least is 4.12 GiB: take more'),
])
def test_nothing_that_can_be_tried_fits(settings, last, monkeypatch, dry_run):
  give_memory(monkeypatch, 1)
  code, said = dry_run('mesh.data=1', 'mesh.fsdp=8', *settings)
  assert code == 2 and said[-2].startswith(f'            nothing tried fits; {last}')


def test_a_width_that_cannot_be_sharded(monkeypatch, dry_run):
  give_memory(monkeypatch, 1)
  _, said = dry_run('mesh.data=8', 'model.dim=60', 'train.batch=8')
  assert [line for line in said if line.startswith('tried')] == [f'tried       {REMAT}: 5.00 GiB']


def test_a_dry_run_for_another_device(dry_run):
  code, said = dry_run('mesh.data=8', 'model.dtype=bfloat16', device='v5e')
  flops = float(said[2].split()[1])
  time, *verdict = said[5:9]
  assert time == (
    f'time        at least {flops / 1.576e15:.3g} s a step at 1,576 TFLOP/s, the peak in bfloat16; '
    f'{flops / 1.576e15 / 0.4:.3g} s at 40% of the peak'
  )
  assert code == 0 and verdict == [
    'verdict     fits: v5e has 16.00 GiB a device',
    '            (planned by the compiler for cpu; v5e may need more or less)',
    '            by this plan it fits: v4, v5e, v5p, v6e, tpu7x, a100, h100, h200, b200',
  ]
  _, said = dry_run('mesh.data=8', device='v4', memory=lambda config: (2**34, 2**34))
  assert '            by this plan it fits: v4, v5p, v6e, tpu7x, a100, h100, h200, b200' in said
  _, said = dry_run('mesh.data=8', 'model.dtype=float32', device='v5e')
  assert said[5].startswith('verdict')  # no peak in float32 is published


def test_missing_text_is_reported_after_the_verdict(monkeypatch, dry_run):
  give_memory(monkeypatch, 9)
  code, said = dry_run(data=UserError('no file matches nix'))
  assert code == 'no file matches nix' and said[-1].startswith('verdict     fits')


def test_a_step_too_large_for_the_compiler_does_not_fit(monkeypatch, dry_run):
  give_memory(monkeypatch, 9)
  sizes = iter([(math.inf, math.inf), (1, 1)])
  code, said = dry_run('mesh.data=8', memory=lambda config: next(sizes))
  assert code == 2 and said[4] == 'memory      more than the compiler accepts'
  assert said[-2] == f'fits with   {REMAT}: 0.00 GiB'


HUGE = 2**30
EMPTY = 'ENTRY %main (p: f32[]) -> f32[] {\n  ROOT %p = f32[] parameter(0)\n}\n'
GATHER = Collective('all-gather', HUGE, np.arange(64).reshape(8, 8), count=3)
SUM = Collective('all-reduce', HUGE / 2, np.arange(64).reshape(8, 8).T, count=4)
RING = Collective('collective-permute', HUGE, np.array([[0, 1], [1, 0]]), count=7, exact=False)


def test_messages_of_a_step(dry_run):
  """Eight devices are one slice of v5e and one node of H100, but 64 are eight nodes."""
  settings = 'mesh.data=8', 'model.dtype=bfloat16'
  _, said = dry_run(*settings, device='v5e', messages=(GATHER, RING, GATHER))
  assert said[5:9] == [
    'sends       13.00 GiB a device in a step', '            all-gather 6 times, 6.00 GiB',
    '            collective-permute at least 7 times, 7.00 GiB', mock.ANY,
  ]
  assert said[9] == f'            {13 * HUGE / 100e9:.3g} s of messages at 100 GB/s, on paper'
  _, said = dry_run(*settings, device='h100', messages=(GATHER, SUM))
  assert said[6:10] == [
    '            all-gather 3 times, 3.00 GiB',
    '            all-reduce 4 times, 2.00 GiB, 2.00 GiB of it between nodes or slices', mock.ANY,
    f'            {3 * HUGE / 450e9:.3g} s of messages at 450 GB/s, '
    f'{2 * HUGE / 50e9:.3g} s between nodes or slices at 50 GB/s, on paper',
  ]
  _, said = dry_run(*settings, device='b200', messages=(GATHER,))
  assert not [line for line in said if 'messages' in line]  # no published links in the table


def test_links_are_those_of_accelerators():
  for name, links in devices.LINKS.items():
    row = devices.ACCELERATORS[name]
    assert links.far < links.near < row.bandwidth and links.source.startswith('https://')


def test_two_slices_are_two_nodes(dry_run):
  """Of eight devices in two slices, 0 to 3 and 4 to 7, groups over all share what they send."""
  messages = [Collective('all-reduce', HUGE, np.arange(8)[None])]
  _, said = dry_run('mesh.data=8', device='v5e', messages=messages, slices=2)
  expected = 'all-reduce 1 times, 1.00 GiB, 0.25 GiB of it between nodes or slices'
  assert said[6].strip() == expected


def test_bytes_of_shards_are_those_of_the_arguments():
  """Weights, optimizer state and batch of a sharded step add up to what XLA plans for arguments."""
  settings = 'mesh.data=1', 'mesh.fsdp=4', 'mesh.tensor=2'
  config, _, _ = config_lib.load('rope', [f'--config.{setting}' for setting in settings])
  setup = state.setup(config)
  batch = train_step.example(setup)
  held = sum(map(plan.bytes_of_shard, jax.tree.leaves((setup.shapes, batch))))
  step = plan.compile_step(config)
  # Rows of text are counted from 0: the compiler drops their positions.
  assert held - plan.bytes_of_shard(batch.stream.pos) == step.arguments
  gathered = sum(each.total for each in step.messages if each.kind == 'all-gather')
  weights = sum(leaf.size for leaf in jax.tree.leaves(setup.shapes.params)) * 4
  # Three of four shards of each weight, at most halved by tensor, arrive at least once.
  assert 0.75 / 2 * weights <= gathered


@pytest.mark.parametrize('error, expected', [
  (None, (2**30, 2**31)),
  (jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: 30.21G of 15.48G hbm'), (math.inf, math.inf)),
  (jax.errors.JaxRuntimeError('INTERNAL: a bug'), None),
])
def test_memory_is_that_of_the_compiled_step(error, expected, monkeypatch):
  planned = types.SimpleNamespace(argument_size_in_bytes=2**30, temp_size_in_bytes=2**31)
  step = types.SimpleNamespace(memory_analysis=lambda: planned, as_text=lambda: EMPTY)
  lowered = types.SimpleNamespace(compile=mock.Mock(side_effect=error, return_value=step))
  monkeypatch.setattr(train_step, 'make_step', lambda *_: mock.Mock(lower=lambda *_: lowered))
  config, _, _ = config_lib.load('nope', ['--config.mesh.data=2', '--config.mesh.fsdp=4'])
  if expected:
    assert plan.compile_step(config) == (*expected, ())
  else:
    with pytest.raises(jax.errors.JaxRuntimeError, match='a bug'):
      plan.compile_step(config)
