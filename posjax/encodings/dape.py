"""DAPE: a small network over the heads refines a bias by what the logits are.

Zheng et al. 2024, NeurIPS, arXiv 2405.14722, section 3.2. At each pair i, j, with A the logits and
B a static bias of all heads:

  logits = A + B + f([A; B])      f(z) = W_2 leaky_relu(W_1 z + b_1) + b_2,  2N -> width -> N

W_1 stands here as its halves, for A and for B. Each layer has its own network; B is one of ALiBi,
KERPLE and FIRE, with `arguments` of its own, and all layers share its weights (in the authors' port
each layer has its own). All heads of a pair are needed at once: under tensor parallelism they are
gathered.

A logit of -infinity, as hard_alibi before this in a chain has, stays one; the network reads 0.
"""

import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from posjax import encodings
from posjax.encodings.alibi import Alibi
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.fire import Fire
from posjax.encodings.kerple import Kerple
from posjax.encodings.parts.initializers import torch_linear

BASES = {'alibi': Alibi, 'fire': Fire, 'kerple': Kerple}


class Dape(Encoding):
  base: str = 'kerple'
  width: int = 32
  arguments: FrozenDict = FrozenDict()
  all_heads = True
  tile = 0.5, 0.5  # more hidden numbers than of 64 x 64 pairs are more than a core's cache holds
  inert = ('output_bias_LN',)  # the same for all keys of a query
  shift_invariant = property(lambda self: BASES[self.base].shift_invariant)
  causal_only = property(lambda self: BASES[self.base].causal_only)
  linear_beyond = property(lambda self: BASES[self.base].linear_beyond)

  def __post_init__(self):
    # A plain dictionary would leave the module without a hash.
    object.__setattr__(self, 'arguments', FrozenDict(self.arguments))
    super().__post_init__()

  def check(self, dims):
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
      raise ValueError("arguments: kernel 'weighted' is more than a bias, it weighs scores too")

  def setup(self):
    self.static = BASES[self.base](**self.arguments, dims=self.dims)
    init = torch_linear(2 * self.dims.N)
    self.scores_LNR = self.weight('scores_LNR', init, R=self.width)
    self.biases_LNR = self.weight('biases_LNR', init, R=self.width)
    self.hidden_bias_LR = self.weight('hidden_bias_LR', init, R=self.width)
    self.output_LRN = self.weight('output_LRN', torch_linear(self.width), R=self.width)
    self.output_bias_LN = self.weight('output_bias_LN', torch_linear(self.width))

  def position_bias(self, q, k):
    return self.static.position_bias(q, k)

  def distance_table(self, distance_R):
    return self.static.distance_table(distance_R)

  def bias_from_table(self, q, r):
    return self.static.bias_from_table(q, r)

  def score(self, s_BNTS, pair, carry):
    B, N, T, S = s_BNTS.shape
    # Pairs in one row, and the weights first: the products find all as they want it.
    s_NP, bias_NP = (
      jnp.broadcast_to(x, s_BNTS.shape).swapaxes(0, 1).reshape(N, -1) for x in (s_BNTS, pair.bias)
    )
    product = lambda w_NR, x_NP: w_NR.astype(s_NP.dtype).T @ x_NP
    finite_NP = jnp.where(s_NP == -jnp.inf, 0, s_NP)
    both = jnp.concatenate([self.scores_LNR, self.biases_LNR])  # one product takes less than two
    z_RP = product(both, jnp.concatenate([finite_NP, bias_NP]))
    h_RP = jax.nn.leaky_relu(z_RP + self.hidden_bias_LR[:, None])
    f_NP = product(self.output_LRN, h_RP) + self.output_bias_LN[:, None]
    return (s_NP + bias_NP + f_NP).reshape(N, B, T, S).swapaxes(0, 1), carry

  def weights(self):
    self.static.weights()  # makes them: they are part of these
    return super().weights()


EXAMPLES = (
  dict(dape=dict(width=5)),
  dict(dape=dict(base='alibi', width=3, arguments=dict(bias_max=4.0))),
)
