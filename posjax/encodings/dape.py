"""DAPE: a small network over the heads refines a bias, given the logits.

Zheng et al. 2024, NeurIPS, arXiv 2405.14722, section 3.2. For each pair i, j, A holds the logits
and B a static bias, of all heads:

  logits = A + B + f([A; B])      f(z) = W_2 leaky_relu(W_1 z + b_1) + b_2,  2N -> width -> N

The code stores W_1 as two halves, for A and for B. Each layer has its own network. B is ALiBi,
KERPLE or FIRE, with `arguments`; all layers share its weights (in the authors' port, each layer has
its own). The network needs all heads of a pair: tensor parallelism gathers them.

A logit of -infinity, as from hard_alibi earlier in a chain, stays -infinity; the network reads 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from posjax import encodings
from posjax.dims import Dims
from posjax.encodings.alibi import Alibi
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair
from posjax.encodings.fire import Fire
from posjax.encodings.kerple import Kerple
from posjax.encodings.parts.initializers import torch_linear

BASES = {'alibi': Alibi, 'fire': Fire, 'kerple': Kerple}


class Dape(Encoding):
  base: str = 'kerple'
  width: int = 32
  arguments: FrozenDict = FrozenDict()
  all_heads = True
  tile = 0.5, 0.5  # hidden values of more than 64 x 64 pairs do not fit a core's cache
  inert = ('output_bias_LN',)  # the same for all keys of a query
  shift_invariant = property(lambda self: BASES[self.base].shift_invariant)
  causal_only = property(lambda self: BASES[self.base].causal_only)
  linear_beyond = property(lambda self: BASES[self.base].linear_beyond)
  encoder_order = property(
    lambda self: BASES[self.base](**self.arguments, parent=None).encoder_order
  )

  def __post_init__(self):
    # A plain dictionary would make the module unhashable.
    object.__setattr__(self, 'arguments', FrozenDict(self.arguments))
    super().__post_init__()

  def check(self, dims: Dims) -> None:
    if self.base not in BASES:
      raise ValueError(f'base is {self.base!r}; valid: {", ".join(BASES)}')
    if self.width < 1:
      raise ValueError(f'width must be positive; it is {self.width}')
    valid = encodings.arguments(BASES[self.base])
    for key, value in self.arguments.items():
      if key not in valid:
        raise ValueError(f'arguments: {self.base} has no {key!r} (it has {", ".join(valid)})')
      expected = type(valid[key])
      if type(value) is not expected and (type(value), expected) != (int, float):
        raise ValueError(f'arguments: {key} must be of type {expected.__name__}; it is {value!r}')
    BASES[self.base](**self.arguments, parent=None).check(dims)
    if self.arguments.get('kernel') == 'weighted':
      raise ValueError("arguments: kernel 'weighted' is more than a bias: it also scales logits")

  def setup(self) -> None:
    self.static = BASES[self.base](**self.arguments, dims=self.dims)
    init = torch_linear(2 * self.dims.N)
    self.scores_LNR = self.weight('scores_LNR', init, R=self.width)
    self.biases_LNR = self.weight('biases_LNR', init, R=self.width)
    self.hidden_bias_LR = self.weight('hidden_bias_LR', init, R=self.width)
    self.output_LRN = self.weight('output_LRN', torch_linear(self.width), R=self.width)
    self.output_bias_LN = self.weight('output_bias_LN', torch_linear(self.width))

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    return self.static.position_bias(q, k)

  def distance_table(self, distance_R: jax.Array) -> Any:
    return self.static.distance_table(distance_R)

  def bias_from_table(self, q: AttentionInput, r: Any) -> jax.Array:
    return self.static.bias_from_table(q, r)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    B, N, T, S = s_BNTS.shape
    # Pairs in one axis, weights on the left: the products need no transpose of the pairs.
    s_NP, bias_NP = (
      jnp.broadcast_to(x, s_BNTS.shape).swapaxes(0, 1).reshape(N, -1) for x in (s_BNTS, pair.bias)
    )
    product = lambda w_NR, x_NP: w_NR.astype(s_NP.dtype).T @ x_NP
    finite_NP = jnp.where(s_NP == -jnp.inf, 0, s_NP)
    both = jnp.concatenate([self.scores_LNR, self.biases_LNR])  # one product is faster than two
    z_RP = product(both, jnp.concatenate([finite_NP, bias_NP]))
    h_RP = jax.nn.leaky_relu(z_RP + self.hidden_bias_LR[:, None])
    f_NP = product(self.output_LRN, h_RP) + self.output_bias_LN[:, None]
    return (s_NP + bias_NP + f_NP).reshape(N, B, T, S).swapaxes(0, 1), carry

  def weights(self) -> Any:
    self.static.weights()  # creates them: they are part of these weights
    return super().weights()


EXAMPLES = (
  dict(dape=dict(width=5)),
  dict(dape=dict(base='alibi', width=3, arguments=dict(bias_max=4.0))),
)
