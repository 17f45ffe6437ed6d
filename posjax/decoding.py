"""Decoding with a cache: the prompt in one pass, then one token at a time under `lax.scan`.

Lengths within one bucket share compiled programs: prompts are padded on the left, with masked
tokens. The cache starts with twice the slots of the padded prompt and doubles when it is full, so
that attention reads at most twice the slots in use. Tokens come in chunks, so that text can be
shown while it is generated.
"""

import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from posjax.encodings import Positions
from posjax.models.stack import Cache
from posjax.models.transformer import Transformer

CHUNK = 16  # tokens per call of the scan
BUCKET = 64  # prompts are padded to this length times a power of two; so are caches
# Static arguments: a new value compiles again.
STATIC = ('model', 'capacity', 'slots', 'temperature', 'top_k', 'top_p', 'never')


@flax.struct.dataclass
class Decoding:
  """The carry of a decoding step: the newest tokens, their positions, and the cache."""

  tokens_B: jax.Array
  at: Positions  # of the newest tokens, T = 1
  cache: Cache


def sample(
  logits_BV: jax.Array, rng: jax.Array, *, temperature: float, top_k: int, top_p: float,
  never: Sequence[int] = (),
) -> jax.Array:
  """Returns a sampled token for each row, [B]; temperature 0 selects the most likely token.

  Top-k: arXiv 1805.04833. Top-p, or nucleus: Holtzman et al. 2020, arXiv 1904.09751. Both apply to
  all tokens, after the temperature: probabilities are not renormalized between top-k and top-p.
  Tokens in `never` are not sampled.
  """
  logits_BV = logits_BV.at[:, list(never)].set(-jnp.inf) if never else logits_BV
  if temperature < 1e-30:  # logits divided by less may overflow float32
    return jnp.argmax(logits_BV, axis=-1)
  logits_BV = logits_BV / temperature
  descending = jnp.sort(logits_BV, axis=-1, descending=True)
  least = jnp.full(len(logits_BV), -jnp.inf)
  if top_k:
    least = jnp.maximum(least, descending[:, min(top_k, logits_BV.shape[-1]) - 1])
  if top_p < 1:
    p = jax.nn.softmax(descending)
    # Keep the first token, and further tokens while their predecessors sum to less than top_p.
    kept = jnp.cumsum(p, axis=-1) - p < top_p
    least = jnp.maximum(least, jnp.min(descending, axis=-1, where=kept, initial=jnp.inf))
  logits_BV = jnp.where(logits_BV >= least[:, None], logits_BV, -jnp.inf)
  return jax.random.categorical(rng, logits_BV)


def bucket(length: int) -> int:
  """Returns the smallest BUCKET * 2**n that holds `length` tokens."""
  return BUCKET * 2 ** max(0, (length - 1) // BUCKET).bit_length()


@flax.struct.dataclass
class Prompts:
  """What each row reads before it generates: a prompt, and a source if the model has an encoder.

  tokens   [B, T] prompts, padded on the left
  padding  [B] lengths of the padding
  pos      [B, T, P] positions; None: 0, 1, …
  after    [B, P] positions of the first generated tokens, which later ones count on; None: the
           next ones, on all axes
  sources  [B, S] or vectors [B, S, C], padded on the right; None: no encoder
  ends     [B] lengths of the sources
  """

  tokens: np.ndarray
  padding: np.ndarray
  pos: np.ndarray | None = None
  after: np.ndarray | None = None
  sources: np.ndarray | None = None
  ends: np.ndarray | None = None


def pad(
  prompts: Collection[np.ndarray], sources: Collection[np.ndarray] | None = None,
  pos: Collection[np.ndarray] | None = None, after: Collection[np.ndarray] | None = None,
) -> Prompts:
  """Pads prompts, none of them empty, their positions and sources, each to one bucket.

  `after`, next to `pos`: the position of the token after each prompt, see `Prompts`.
  """

  def stack(rows, left):
    length = bucket(max(map(len, rows)))
    sides = [(length - len(row), 0) if left else (0, length - len(row)) for row in rows]
    padded = np.stack([
      np.pad(row, [side] + [(0, 0)] * (row.ndim - 1))
      for row, side in zip(map(np.asarray, rows), sides, strict=True)
    ])
    dtype = np.float32 if padded.dtype.kind == 'f' else np.int32  # also in 64-bit mode
    return padded.astype(dtype), np.array(sides, np.int32)

  tokens, padding = stack(prompts, left=True)
  padded = Prompts(tokens, padding[:, 0])
  if pos is not None:
    pos_BTP = stack(pos, left=True)[0]
    padded = padded.replace(pos=pos_BTP, after=after and np.array([*after], pos_BTP.dtype))
  if sources is None:
    return padded
  read, sides = stack(sources, left=False)
  return padded.replace(sources=read, ends=read.shape[1] - sides[:, 1])


def generate(
  model: Transformer, params: Any, prompts: Prompts, *, tokens: int, rng: jax.Array,
  **sampling: Any,
) -> Iterator[np.ndarray]:
  """Yields arrays [B, n] of the tokens that follow each prompt, `tokens` in total.

  Args:
    model: a model of `posjax.models`.
    params: its weights.
    prompts: what each row reads, from `pad`.
    tokens: how many to generate.
    rng: a key.
    **sampling: temperature, top_k, top_p and never, see `sample`.
  """
  length, chunks = prompts.tokens.shape[1], -(-tokens // CHUNK)
  capacity, slots = bucket(length + chunks * CHUNK), 2 * length
  params = unstack_layers(model, params)
  decoding = prefill(model, params, prompts, rng, capacity=capacity, slots=slots, **sampling)
  yield np.asarray(decoding.tokens_B)[:, None][:, :tokens]
  for done in range(1, tokens, CHUNK):
    if length + done - 1 == slots:
      slots *= 2
      decoding = grow(model, decoding, slots=slots)
    decoding, new_BT = decode(model, params, decoding, rng, **sampling)
    yield np.asarray(new_BT)[:, : tokens - done]


@functools.partial(jax.jit, static_argnums=0)
def unstack_layers(model: Transformer, params: Any) -> Any:
  return model.unstack(params)


@functools.partial(jax.jit, static_argnames=STATIC)
def prefill(
  model: Transformer, params: Any, prompts: Prompts, rng: jax.Array, *, capacity: int, slots: int,
  **sampling: Any,
) -> Decoding:
  """Reads the prompts into a new cache and picks the first token after them."""
  logits_BV, at, cache = read_prompts(
    model, params, prompts, rng, capacity=capacity, slots=slots
  )
  return _next(logits_BV, at, cache, rng, sampling)


def read_prompts(
  model: Transformer, params: Any, prompts: Prompts, rng: jax.Array, *, capacity: int, slots: int
) -> tuple[jax.Array, Positions, Cache]:
  """Returns the outputs [B, V] of the last tokens, their positions [B, 1], and a new cache.

  Given `after`, the positions are those from which generated tokens count on.
  """
  B, T = prompts.tokens.shape
  order_BT = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (B, T))
  pos_BT = order_BT - prompts.padding[:, None]
  segments = lambda real: jnp.where(real, 0, jnp.int32(-1))
  own = jnp.maximum(pos_BT, 0)[..., None] if prompts.pos is None else prompts.pos
  at = Positions(own, order_BT, segments(pos_BT >= 0))
  source = None
  if prompts.sources is not None:
    shape = prompts.sources.shape[:2]
    order_BS = jnp.broadcast_to(jnp.arange(shape[1], dtype=jnp.int32), shape)
    real_BS = order_BS < prompts.ends[:, None]
    source = prompts.sources, Positions(order_BS[..., None], order_BS, segments(real_BS))
  # Sampling never uses length 0, so key 0 is free for drawn positions.
  positions = jax.random.fold_in(rng, 0)
  cache = model.init_cache(B, capacity, slots=slots, rng=positions)
  logits_BTV, cache = model.apply({'params': params}, prompts.tokens, at, cache, source=source)
  last = jax.tree.map(lambda x: x[:, -1:], at)
  if prompts.after is not None:
    last = last.replace(pos=prompts.after[:, None] - 1)
  return logits_BTV[:, -1], last, cache


@functools.partial(jax.jit, static_argnames=('model', 'slots'))
def grow(model: Transformer, decoding: Decoding, *, slots: int) -> Decoding:
  return decoding.replace(cache=model.grow(decoding.cache, slots))


@functools.partial(jax.jit, static_argnames=STATIC, donate_argnames='decoding')
def decode(
  model: Transformer, params: Any, decoding: Decoding, rng: jax.Array, **sampling: Any
) -> tuple[Decoding, jax.Array]:
  """Generates CHUNK tokens; returns the new `Decoding` and the tokens [B, CHUNK]."""

  def step(d, _):
    logits_BTV, cache = model.apply({'params': params}, d.tokens_B[:, None], d.at, d.cache)
    d = _next(logits_BTV[:, -1], d.at, cache, rng, sampling)
    return d, d.tokens_B

  decoding, tokens_TB = jax.lax.scan(step, decoding, length=CHUNK)
  return decoding, tokens_TB.T


def _next(logits_BV, at, cache, rng, sampling):
  now = jax.random.fold_in(rng, cache.length)
  return Decoding(
    tokens_B=sample(logits_BV, now, **sampling).astype(jnp.int32),
    at=at.replace(pos=at.pos + 1, order=at.order + 1),
    cache=cache,
  )
