"""A language model with absolute positions: what one tutorial's code should have been.

Next-token targets, a causal mask, a vocabulary head, integer ids, and positions that are added to
the token embeddings (sinusoids, Vaswani et al. 2017, arXiv 1706.03762). The text is the reference
manual that Python ships for its `help()`; a token is a byte, so there are 256 ids.

  python -m experiments.seeds.absolute_lm
"""

import math
from collections.abc import Callable
from pydoc_data.topics import topics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from posjax import Positions, Sinusoidal
from posjax.dims import Dims
from posjax.models.pattern import Pattern
from posjax.models.settings import HeadSettings
from posjax.models.transformer import Transformer

LENGTH, BATCH, STEPS, RATE, BYTES = 64, 16, 400, 3e-3, 256
DIMS = Dims(D=64, N=4, K=4, H=16, F=192, V=BYTES)
PAGES = [text.encode() for text in topics.values()]
TRAINING = b'\n'.join(page[: len(page) * 9 // 10] for page in PAGES)
HELD_OUT = b'\n'.join(page[len(page) * 9 // 10 :] for page in PAGES)

MODEL = Transformer(  # a decoder; its head has weights of its own
  pattern=Pattern((Sinusoidal().with_dims(DIMS),)), vocabulary=BYTES, dim=DIMS.D, layers=2,
  heads=DIMS.N, kv_heads=DIMS.K, head_dim=DIMS.H, hidden=DIMS.F, head=HeadSettings(tied=False),
)


def logits(params: Any, x_BT: jax.Array, at: Positions) -> jax.Array:
  """Returns next-token logits, [B, T, V]."""
  return MODEL.apply({'params': params}, x_BT, at)[0]


def initial() -> Any:
  """Returns the weights of a new model."""
  return MODEL.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32), positions(1))['params']


def rows(text: bytes, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns inputs and targets, int32 [B, T] each: the target of a token is the next token."""
  ids = np.frombuffer(text, np.uint8).astype(np.int32)
  tokens = ids[starts[:, None] + np.arange(LENGTH + 1)]
  return tokens[:, :-1], tokens[:, 1:]


def positions(length: int, start: int = 0) -> Positions:
  """Returns positions start, start + 1, … of one document that fills the row."""
  row = start + jnp.arange(length)[None]
  return Positions(row[..., None], row, jnp.zeros_like(row), consecutive=True)


def cross_entropy(logits: Callable, params: Any, batch: tuple, start: int = 0) -> jax.Array:
  """Returns the mean loss in nats per byte, with the first token at position `start`."""
  x_BT, targets_BT = batch
  outputs = logits(params, x_BT, positions(x_BT.shape[1], start))
  return optax.softmax_cross_entropy_with_integer_labels(outputs, targets_BT).mean()


def train(logits: Callable, params: Any, steps: int = STEPS) -> tuple[Any, list[float]]:
  """Returns the trained weights, and the loss of each batch before its update."""
  adam = optax.adam(optax.warmup_cosine_decay_schedule(0, RATE, steps // 10, steps))
  rng = np.random.default_rng(0)

  @jax.jit
  def update(params, state, batch):
    loss, gradient = jax.value_and_grad(lambda w: cross_entropy(logits, w, batch))(params)
    change, state = adam.update(gradient, state)
    return optax.apply_updates(params, change), state, loss

  state, losses = adam.init(params), []
  for step in range(steps):
    batch = rows(TRAINING, rng.integers(len(TRAINING) - LENGTH, size=BATCH))
    params, state, loss = update(params, state, batch)
    losses.append(float(loss))
    if step % 100 == 0:
      print(f'step {step}: loss {loss:.3f}', flush=True)
  return params, losses


def held_out(logits: Callable, params: Any, start: int = 0) -> float:
  """Returns the loss in nats per byte of the held-out text, windows placed at `start`."""
  batch = rows(HELD_OUT, np.arange(0, len(HELD_OUT) - LENGTH, LENGTH))
  return float(jax.jit(lambda w: cross_entropy(logits, w, batch, start))(params))


def frequency_loss() -> float:
  """Returns the loss in nats of guessing held-out bytes by their frequency in the training text."""
  training, text = (np.frombuffer(part, np.uint8) for part in (TRAINING, HELD_OUT))
  counts = np.bincount(training, minlength=256) + 1
  return float(-np.log(counts / counts.sum())[text].mean())


def report(logits: Callable, params: Any) -> dict[str, float]:
  """Trains, prints, and returns first and last loss and two held-out losses, in nats per byte."""
  params, losses = train(logits, params)
  numbers = {
    'uniform guess, ln 256': math.log(BYTES),
    'first loss': losses[0],
    'last loss, mean of 20 steps': float(np.mean(losses[-20:])),
    'held-out, byte frequencies': frequency_loss(),
    'held-out, positions from 0': held_out(logits, params),
    'held-out, positions from 1,000': held_out(logits, params, start=1000),
  }
  for name, number in numbers.items():
    print(f'{name}: {number:.3f}')
  return numbers


if __name__ == '__main__':
  report(logits, initial())
