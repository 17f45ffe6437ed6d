"""Attention weights, queries, keys and the residual stream of every layer of a trained model.

Linen passes each call of a method to an interceptor. The hook `output` of an encoding is called
once in a layer by the reference attention, with the weights p, and the queries and keys as the
logits were made from them. A cache makes the model run layer by layer, because nothing can leave
the scan over layers that training uses.
"""

from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.batch import Stream
from posjax.encodings import Encoding
from posjax.models.block import Block
from posjax.models.transformer import Transformer


class Layer(NamedTuple):
  """A layer: its attention weights, its queries and keys after all hooks, and the stream after it.

  p [B, N, T, T]; rows sum to 1, or less for encodings that do not normalize
  q [B, T, N, H] scaled; k [B, T, K, H]
  x [B, T, D]
  """

  p: jax.Array
  q: jax.Array
  k: jax.Array
  x: jax.Array


class Seen(NamedTuple):
  """What a model computed from its inputs: embeddings [B, T, D], layers, and outputs [B, T, V]."""

  embedded: jax.Array
  layers: list[Layer]
  outputs: jax.Array


def capture(model: Transformer, params: Any, ids_BT: jax.Array) -> Seen:
  """Returns all that a decoder computes from rows of token ids."""
  how = flax.core.FrozenDict(model.attention, implementation='reference')
  return _run(model.clone(attention=how), params, jnp.asarray(ids_BT))


@jax.jit(static_argnums=0)
def _run(model, params, ids_BT):
  inputs, outputs, ends = [], [], []

  def watch(call, args, named, context):
    module, method = context.module, context.method_name
    if isinstance(module, Block) and method == '__call__':
      inputs.append(args[0])
      result = call(*args, **named)
      outputs.append(result[0])
      return result
    # Each part of a chain is given the same weights: the first call of a layer is enough.
    if isinstance(module, Encoding) and method == 'output' and len(ends) < len(inputs):
      ends.append(args[1:])
    return call(*args, **named)

  cache = model.init_cache(*ids_BT.shape, slots=1, rng=jax.random.key(0))
  with nn.intercept_methods(watch):
    logits, _ = model.apply({'params': params}, ids_BT, Stream(ids_BT).at(True), cache)
  encodings = [model.pattern.by_name[own.encoding] for own in model.pattern.layers()]
  layers = [
    _layer(encoding, *pair, x)
    for encoding, pair, x in zip(encodings * model.groups, ends, outputs, strict=True)
  ]
  return Seen(inputs[0], layers, logits)


def _layer(encoding, p_BNTS, pair, x_BTD):
  """Returns a `Layer` with normalized weights, without the empty slot of the cache."""
  if encoding.normalizer == 'softmax':
    p_BNTS = p_BNTS / jnp.sum(p_BNTS, axis=-1, keepdims=True)
  T = p_BNTS.shape[2]
  return Layer(p_BNTS[..., -T:], pair.q.h, pair.k.h[:, -T:], x_BTD)
