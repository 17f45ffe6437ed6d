"""Beam search: the likeliest continuations of each prompt, by a score that allows for their length.

The score of a continuation of n tokens, the end included, is log p / ((5 + n) / 6)^penalty (Wu et
al. 2016, arXiv 1609.08144, equation 14 without coverage). A finished continuation keeps its place
in the beam until better ones push it out. With one beam this is greedy decoding.
"""

import functools
from collections.abc import Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from posjax.decoding import CHUNK, Decoding, Prompts, bucket, read_prompts, unstack_layers

STATIC = ('model', 'tokens', 'beams', 'penalty', 'end', 'never')


@flax.struct.dataclass
class Beam:
  """The hypotheses of each row, the best first: K per row, in rows B K of the cache.

  tokens  [B, K, T] generated so far
  logp    [B, K] log probability
  length  [B, K] tokens, the end included
  done    [B, K] whether the end was generated
  """

  tokens: jax.Array
  logp: jax.Array
  length: jax.Array
  done: jax.Array


def beam_search(
  model: Any, params: Any, prompts: Prompts, *, tokens: int, beams: int, penalty: float, end: int,
  never: Sequence[int] = (), rng: jax.Array,
) -> tuple[list[np.ndarray], np.ndarray]:
  """Returns the best continuation of each prompt, without the end, and their log probabilities.

  Args:
    model: a model of `posjax.models`.
    params: its weights.
    prompts: what each row reads.
    tokens: the most tokens to generate.
    beams: hypotheses per row.
    penalty: the exponent of the length; 0: plain log probability, larger: longer texts.
    end: the token that ends a text.
    never: tokens that are not generated.
    rng: a key, for encodings that draw positions.
  """
  params = unstack_layers(model, params)
  rules = dict(model=model, tokens=tokens, beams=beams, penalty=penalty, end=end)
  beam, decoding = start(params, prompts, rng, never=tuple(never), **rules)
  for first in range(1, tokens, CHUNK):
    if np.all(beam.done):
      break
    beam, decoding = advance(params, beam, decoding, first, never=tuple(never), **rules)
  best = jax.device_get(jax.tree.map(lambda x: x[:, 0], beam))
  lengths = best.length - best.done
  return [row[:n] for row, n in zip(best.tokens, lengths, strict=True)], best.logp


@functools.partial(jax.jit, static_argnames=STATIC)
def start(
  params: Any, prompts: Prompts, rng: jax.Array, *, model: Any, tokens: int, beams: int,
  **rules: Any,
) -> tuple[Beam, Decoding]:
  """Reads the prompts and takes the likeliest first tokens."""
  capacity = bucket(prompts.tokens.shape[1] + tokens)
  logits_BV, at, cache = read_prompts(
    model, params, prompts, rng, capacity=capacity, slots=capacity
  )
  B = len(logits_BV)
  every = jnp.arange(B).repeat(beams)
  at = jax.tree.map(lambda x: x[every] if len(x) > 1 else x, at)
  decoding = Decoding(None, at, model.take_rows(cache, every))
  # All hypotheses are the empty one: only the first counts.
  logp_BK = jnp.full((B, beams), -jnp.inf).at[:, 0].set(0.0)
  zero_BK = jnp.zeros((B, beams), jnp.int32)
  beam = Beam(jnp.zeros((B, beams, tokens), jnp.int32), logp_BK, zero_BK, zero_BK > 0)
  return extend(beam, decoding, logits_BV[every], 0, model=model, **rules)


@functools.partial(jax.jit, static_argnames=STATIC, donate_argnames=('beam', 'decoding'))
def advance(
  params: Any, beam: Beam, decoding: Decoding, first: jax.Array, *, model: Any, tokens: int,
  beams: int, **rules: Any,
) -> tuple[Beam, Decoding]:
  """Generates tokens `first` to `first` + CHUNK - 1, but no more than `tokens` in total."""

  def step(beam_decoding, i):
    beam, d = beam_decoding
    logits_BTV, cache = model.apply({'params': params}, d.tokens_B[:, None], d.at, d.cache)
    d = d.replace(cache=cache)
    new = extend(beam, d, logits_BTV[:, 0], first + i, model=model, **rules)
    # Past the last token the beam stays as it is.
    more = first + i < tokens
    return (jax.tree.map(lambda a, b: jnp.where(more, a, b), new[0], beam), new[1]), None

  return jax.lax.scan(step, (beam, decoding), jnp.arange(CHUNK))[0]


def extend(
  beam: Beam, decoding: Decoding, logits_MV: jax.Array, number: jax.Array | int, *, model: Any,
  penalty: float, end: int, never: tuple[int, ...],
) -> tuple[Beam, Decoding]:
  """Returns the best hypotheses with one more token each, and their rows of the cache.

  Args:
    beam: hypotheses, B rows of K.
    decoding: their cache and positions.
    logits_MV: their next-token logits, M = B K.
    number: tokens generated so far.
    model, penalty, end, never: see `beam_search`.
  """
  B, K = beam.logp.shape
  logits_MV = logits_MV.at[:, list(never)].set(-jnp.inf) if never else logits_MV
  next_BKV = jax.nn.log_softmax(logits_MV).reshape(B, K, -1)
  V = next_BKV.shape[-1]
  # A finished hypothesis has one continuation, itself.
  itself_V = jnp.where(jnp.arange(V) == end, 0.0, -jnp.inf)
  next_BKV = jnp.where(beam.done[..., None], itself_V, next_BKV)
  logp_BKV = beam.logp[..., None] + next_BKV
  length_BK = beam.length + ~beam.done
  score_BKV = logp_BKV / (((5 + length_BK) / 6) ** penalty)[..., None]
  _, best_BK = jax.lax.top_k(score_BKV.reshape(B, K * V), K)
  parent_BK, token_BK = best_BK // V, (best_BK % V).astype(jnp.int32)
  take = lambda x: jnp.take_along_axis(x, parent_BK, axis=1)
  tokens = jnp.take_along_axis(beam.tokens, parent_BK[..., None], axis=1)
  done = take(beam.done)
  tokens = tokens.at[:, :, number].set(jnp.where(done, 0, token_BK), mode='drop')
  logp = jnp.take_along_axis(logp_BKV.reshape(B, K * V), best_BK, axis=1)
  beam = Beam(tokens, logp, take(length_BK), done | (token_BK == end))
  rows = (jnp.arange(B)[:, None] * K + parent_BK).reshape(-1)
  at = decoding.at.replace(pos=decoding.at.pos + 1, order=decoding.at.order + 1)
  cache = model.take_rows(decoding.cache, rows)
  return beam, Decoding(token_BK.reshape(-1), at, cache)
