"""What a training step would take, found out without taking one: parameters, FLOPs, memory.

FLOPs are those of the model, not of the program: 6 for each weight of a matrix and each target, and
12 N H for each pair that sees each other in each layer (Chowdhery et al. 2022, arXiv 2204.02311,
appendix B, but for counting masked pairs). Recomputation (remat) does not count, nor does what an
encoding computes besides. Memory is XLA's own plan for one device.
"""

import jax

from posjax import report, resources, state, train
from posjax.dims import letters


def flops_per_step(config, model, params):
  """Of one training step: forward and backward, all devices together."""

  def in_products(path, leaf):
    name = path[-1].key
    look_up = name == 'table_VD' and not model.tied
    return 0 if look_up or len(letters(name)) < 2 or path[0].key == 'encoding' else leaf.size

  weights = sum(jax.tree.leaves(jax.tree_util.tree_map_with_path(in_products, params)))
  T = config.train.length
  layers = list(model.pattern.layers())
  seen = sum(pairs(T, own.window, own.chunk) for own in layers) * (model.layers // len(layers))
  scores = 12 * seen * model.heads * model.head_dim
  return config.train.batch * (6 * weights * T + scores)


def pairs(T, window, chunk):
  """Pairs that see each other under a causal mask of T tokens."""
  if chunk:
    return T // chunk * pairs(chunk, window, 0) + pairs(T % chunk, window, 0)
  window = min(window or T, T)
  return window * (window + 1) // 2 + (T - window) * window


def run(config, name):
  """Compiles a step of the resolved `config` and prints what it would take; trains nothing."""
  model, mesh = state.setup(config)
  abstract = state.abstract(config, model, mesh)
  with jax.set_mesh(mesh):
    step = train.make_step(config, model, abstract)
    compiled = step.lower(abstract, train.example(config, mesh)).compile()
  flops = flops_per_step(config, model, abstract.params)
  tokens = config.train.batch * config.train.length
  memory = compiled.memory_analysis()
  print(f'config      {name}')
  print(f'parameters  {report.count(abstract.params):,}')
  print(f'FLOPs       {flops:.3e} a step, {flops / tokens:.3e} a byte')
  print(f'mesh        {", ".join(f"{axis} {size}" for axis, size in mesh.shape.items())}')
  print(
    f'memory      {resources.planned(compiled) / resources.GIB:.2f} GiB a device: state and batch '
    f'{memory.argument_size_in_bytes / resources.GIB:.2f}, '
    f'temporaries {memory.temp_size_in_bytes / resources.GIB:.2f}'
  )
