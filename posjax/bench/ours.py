"""Subjects of posjax: the code that its users run, with the shapes of shapes.py."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from posjax.bench import shapes
from posjax.bench.subjects import Subject
from posjax.errors import show

if TYPE_CHECKING:
  import numpy as np
  from ml_collections import ConfigDict


def build(subject: Subject) -> tuple[Callable[[], Any] | None, int | None]:
  """Returns (a function that runs one call and waits for it, bytes of planned temporaries)."""
  case = subject.variant if subject.case == 'memory' else subject.case
  return {
    'step': step, 'layer': layer, 'decode': decode, 'ceiling': ceiling
  }[case](subject)


def sections(subject: Subject) -> dict[str, dict[str, int]]:
  """Returns encoding arguments large enough for all positions."""
  sized = {
    'floater': 'length', 'learned': 'length', 'pose': 'target', 'randomize': 'places',
    'tupe': 'length',
  }
  needed = 2 * subject.length
  return {part: {sized[part]: needed} for part in subject.name.split('+') if part in sized}


def config(subject: Subject) -> 'ConfigDict':
  """Returns the config of a run with these shapes."""
  from posjax import config as config_lib

  made = config_lib.base().get_config()
  made.encoding = dict(layers=(subject.name,), **sections(subject))
  gated = subject.case == 'decode' or subject.variant == 'swiglu'
  made.model.update(
    dim=shapes.D, layers=shapes.LAYERS, heads=shapes.N, kv_heads=shapes.N,
    head_dim=shapes.H, hidden=shapes.F, dtype=subject.dtype,
    norm=dict(kind='rmsnorm' if gated else 'layernorm'),
    mlp=dict(gated=gated, activation='silu' if gated else 'gelu_tanh'),
  )
  made.attention.implementation = subject.implementation
  made.train.update(batch=subject.batch, length=subject.length)
  made.optimizer.learning_rate = 1e-3
  return made


def tokens(rows: int, length: int) -> 'np.ndarray':
  """Returns random bytes, int32 [rows, length], the same for every program."""
  import numpy as np

  return np.random.default_rng(0).integers(0, 256, (rows, length), np.int32)


def step(subject: Subject) -> tuple[Callable[[], Any] | None, int]:
  """A training step as in `posjax.train`; the loss is read after each step."""
  import jax
  import numpy as np

  from posjax import sharding, state, train, train_step
  from posjax.batch import Batch, Stream

  setup = state.setup(config(subject))
  row_BT = tokens(subject.batch, subject.length + 1)
  order_BT = np.broadcast_to(np.arange(subject.length, dtype=np.int32), row_BT[:, 1:].shape)
  with jax.set_mesh(setup.mesh):
    compiled = train_step.make_step(setup)
    compiled = compiled.lower(setup.shapes, train_step.example(setup)).compile()
    planned = compiled.memory_analysis().temp_size_in_bytes
    if subject.case == 'memory':
      return None, planned
    now = train.first_state(setup)
    stream = Stream(row_BT[:, :-1], order_BT[..., None], np.zeros_like(order_BT))
    batch = Batch(stream, row_BT[:, 1:], np.ones(order_BT.shape, bool))
    batch = sharding.shard_batch(batch, setup.mesh)

  def call():
    nonlocal now
    now, metrics = compiled(now, batch)
    float(metrics['loss'])

  return call, planned


def layer(subject: Subject) -> tuple[Callable[[], Any], int]:
  """Hooks and attention of one layer, and the gradients of all inputs."""
  import jax
  import jax.numpy as jnp

  from posjax.attention import attend
  from posjax.dims import Dims
  from posjax.encodings import Bound, Positions, build

  N, H, T = shapes.LAYER_N, shapes.LAYER_H, subject.length
  dims = Dims(D=N * H, N=N, K=N, H=H)
  (encoding,) = build(dims, (subject.name,), **sections(subject))
  rngs = jax.random.split(jax.random.key(0), 6)
  row = jnp.arange(T, dtype=jnp.int32)[None]
  at = Positions(row[..., None], row, jnp.zeros_like(row), consecutive=True, ids=row % 256)
  state = encoding.init_state(1, T, True, rngs[0])
  weights = encoding.init_weights(rngs[1])
  there, _ = Bound(encoding, weights).locate(at, state.sequence, jnp.float32)  # once for all layers

  def loss(weights, x_BTD, q_BTNH, k_BTNH, v_BTNH, there):
    bound = Bound(encoding, weights)
    features, _ = bound.features(x_BTD, there, state.layer)
    q = bound.query(there.attach(q_BTNH * dims.scale, v_BTNH, features))
    k = bound.key(there.attach(k_BTNH, v_BTNH, features))
    o_BTNH = attend(q, k, bound, implementation=subject.implementation)
    return jnp.sum(o_BTNH.astype(jnp.float32) ** 2)

  normal = functools.partial(jax.random.normal, dtype=subject.dtype)
  arguments = [
    weights, normal(rngs[2], (1, T, dims.D)),
    *(normal(rng, (1, T, N, H)) for rng in rngs[3:]), there,
  ]
  compiled = jax.jit(jax.grad(loss, range(5))).lower(*arguments).compile()
  planned = compiled.memory_analysis().temp_size_in_bytes
  return lambda: jax.block_until_ready(compiled(*arguments)), planned


def decode(subject: Subject) -> tuple[Callable[[], Any], None]:
  """Greedy decoding after a prompt, by `posjax.generate`."""
  import jax

  from posjax import state
  from posjax.decoding import generate, pad
  from posjax.models import transformer

  _, model = state.build(config(subject))
  params = transformer.init(model, jax.random.key(0))
  prompts = pad(tokens(subject.batch, shapes.PROMPT))
  options = dict(tokens=subject.length, temperature=0.0, top_k=0, top_p=1.0)
  return lambda: [*generate(model, params, prompts, rng=jax.random.key(0), **options)], None


def arguments(subject: Subject) -> list[str]:
  """Returns posjax.main's arguments for a run that prints metrics right after its first step."""
  from posjax import config as config_lib

  run = config(subject)
  run.train.update(steps=2, log_every=1)
  run.optimizer.warmup = 0
  base, own = (config_lib.flatten(c) for c in (config_lib.base().get_config(), run))
  changed = config_lib.difference(base, own)
  return ['--config=base', *(f'--config.{k}={show(value)}' for k, (_, value) in changed.items())]


def ceiling(subject: Subject) -> tuple[Callable[[], Any], None]:
  """A product of two matrices, as an upper bound of this machine's FLOP rate."""
  import jax
  import jax.numpy as jnp

  m, k, n = shapes.CEILINGS[subject.name]
  a_mk, b_kn = jnp.ones((m, k), subject.dtype), jnp.ones((k, n), subject.dtype)
  product = jax.jit(jnp.matmul)
  return lambda: product(a_mk, b_kn).block_until_ready(), None
