"""The same model in hand-written JAX: the baseline for start-up.

It has a dictionary of weights, a Python loop over the layers, all scores in one array, RoPE and
optax's AdamW. The weights are drawn one by one, which is faster than under one jit.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from posjax.bench.shapes import LAYERS, D, F, H, N, V
from posjax.bench.subjects import Subject


def build(subject: Subject) -> tuple[Callable[[], None], None]:
  """Returns (a function that runs a training step and waits for its loss, None)."""
  adamw = optax.adamw(1e-3, b2=0.95, weight_decay=0.1)
  weights = init(jax.random.key(0))
  opt_state = adamw.init(weights)
  rows_BT = np.random.default_rng(0).integers(0, 256, (subject.batch, subject.length + 1), np.int32)

  @jax.jit
  def step(weights, opt_state, rows_BT):
    loss, grads = jax.value_and_grad(mean_loss)(weights, rows_BT)
    updates, opt_state = adamw.update(grads, opt_state, weights)
    return optax.apply_updates(weights, updates), opt_state, loss

  def call():
    nonlocal weights, opt_state
    weights, opt_state, loss = step(weights, opt_state, rows_BT)
    float(loss)

  return call, None


def init(rng: jax.Array) -> dict[str, jax.Array]:
  shapes = {'table_VD': (V, D), 'norm_D': (D,)}
  for i in range(LAYERS):
    shapes |= {
      f'{i}.norm1_D': (D,), f'{i}.qkv_D3NH': (D, 3, N, H), f'{i}.out_NHD': (N, H, D),
      f'{i}.norm2_D': (D,), f'{i}.up_DF': (D, F), f'{i}.down_FD': (F, D),
    }
  rngs = jax.random.split(rng, len(shapes))
  return {
    name: 0.02 * jax.random.normal(rng, shape) if len(shape) > 1 else jnp.ones(shape)
    for rng, (name, shape) in zip(rngs, shapes.items(), strict=True)
  }


def mean_loss(weights: dict[str, jax.Array], rows_BT: jax.Array) -> jax.Array:
  logits_BTV = logits(weights, rows_BT[:, :-1])
  return optax.softmax_cross_entropy_with_integer_labels(logits_BTV, rows_BT[:, 1:]).mean()


def logits(weights: dict[str, jax.Array], tokens_BT: jax.Array) -> jax.Array:
  x_BTD = weights['table_VD'][tokens_BT]
  for i in range(LAYERS):
    h_BTD = norm(x_BTD, weights[f'{i}.norm1_D'])
    q, k, v = jnp.einsum('BTD,DcNH->cBTNH', h_BTD, weights[f'{i}.qkv_D3NH'])
    x_BTD += jnp.einsum('BTNH,NHD->BTD', attention(rotate(q), rotate(k), v),
                        weights[f'{i}.out_NHD'])
    h_BTD = norm(x_BTD, weights[f'{i}.norm2_D'])
    x_BTD += jax.nn.gelu(h_BTD @ weights[f'{i}.up_DF']) @ weights[f'{i}.down_FD']
  return norm(x_BTD, weights['norm_D']) @ weights['table_VD'].T


def norm(x_BTD: jax.Array, scale_D: jax.Array) -> jax.Array:
  return jax.nn.standardize(x_BTD, epsilon=1e-6) * scale_D


def attention(q_BTNH: jax.Array, k_BSNH: jax.Array, v_BSNH: jax.Array) -> jax.Array:
  s_BNTS = jnp.einsum('BTNH,BSNH->BNTS', q_BTNH, k_BSNH) * H**-0.5
  seen_TS = jnp.tril(jnp.ones(s_BNTS.shape[2:], bool))
  p_BNTS = jax.nn.softmax(jnp.where(seen_TS, s_BNTS, -jnp.inf))
  return jnp.einsum('BNTS,BSNH->BTNH', p_BNTS, v_BSNH)


def rotate(x_BTNH: jax.Array) -> jax.Array:
  angle_TH = jnp.arange(x_BTNH.shape[1])[:, None] * 1e4 ** (-jnp.arange(0, H, 2) / H)
  cos_TNH, sin_TNH = jnp.cos(angle_TH)[:, None], jnp.sin(angle_TH)[:, None]
  a, b = jnp.split(x_BTNH, 2, axis=-1)
  return jnp.concatenate([a * cos_TNH - b * sin_TNH, b * cos_TNH + a * sin_TNH], axis=-1)
