"""Log-spaced continuous bias of Swin V2: a small network maps differences to the biases of heads.

Liu et al. 2022, "Swin Transformer V2", CVPR, arXiv 2111.09883, section 3.3, and the released code:

  A_ij = q_i . k_j / sqrt(H) + 16 sigmoid(f_n(u(p_i - p_j)))      f(u) = W_2 relu(W_1 u + b_1)
  u(d) = sign(x) log2(1 + |x|) / log2(8),   x = 8 d / (M - 1), on each axis

M is the size of the window in which the weights were trained (`pretrained`; (): the window's). The
weights do not depend on the window, so that a larger one needs no others. `form` 'cr' is timm's:
u(d) = sign(d) ln(1 + |d|), and the bias is f_n(u) + b_n.

The network maps all differences of the window once per layer, R rows of `hidden` units, and pairs
read its results; positions are therefore indices, and the window has a size. Between a token
without a place and any token the bias is 0.

With `cosine`, as in Swin V2, cosines replace q_i . k_j / sqrt(H), multiplied by exp(min(s_n,
ln 100)), a learned factor of each head.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.declarations import each
from posjax.encodings.core.tokens import AttentionInput
from posjax.encodings.parts.grid_bias import WindowBias, check_sizes, differences

FORMS = ('swin', 'cr')
ROWS = 4096  # computed in one pass


def log_spaced(x: np.ndarray, base: float = math.e) -> np.ndarray:
  return np.sign(x) * np.log1p(np.abs(x)) / math.log(base)


def network(
  input_RP: jax.Array, hidden_PC: jax.Array, bias_C: jax.Array, output_CN: jax.Array
) -> jax.Array:
  """Returns W_2 relu(W_1 u + b_1) for R rows of differences, [R, N]."""
  # Without this, accelerators would round the differences to bfloat16.
  product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

  # The units of 64 x 64 positions would take 32 MiB, in each layer: the backward pass repeats them.
  @jax.checkpoint
  def of_row(u_P):
    return product(nn.relu(product(u_P, hidden_PC) + bias_C), output_CN)

  return jax.lax.map(of_row, input_RP, batch_size=ROWS)


def unit(h_BTNH: jax.Array, factor_N: jax.Array | float = 1.0) -> jax.Array:
  """Returns vectors of norm `factor`, in the dtype of `h`; 0 stays 0, with a gradient."""
  h = h_BTNH.astype(at_least_float32(h_BTNH))
  squared_BTN1 = jnp.sum(jnp.square(h), axis=-1, keepdims=True)
  factor_N1 = jnp.asarray(factor_N, h.dtype)[..., None]
  return (h * jax.lax.rsqrt(jnp.maximum(squared_BTN1, 1e-24)) * factor_N1).astype(h_BTNH.dtype)


class LogCpb(WindowBias):
  pretrained: tuple[int, ...] = ()
  hidden: int = 512
  form: str = 'swin'
  cosine: bool = False

  @property
  def inert(self) -> tuple[str, ...]:
    # The same for all keys with a place.
    return ('output_bias_LN',) if self.form == 'cr' else ()

  def check(self, dims: Dims) -> None:
    super().check(dims)
    if self.pretrained:
      check_sizes('pretrained', self.pretrained, dims.P)
    if self.hidden < 1:
      raise ValueError(f'hidden must be positive; it is {self.hidden}')
    if self.form not in FORMS:
      raise ValueError(f'form is {self.form!r}; valid: {", ".join(FORMS)}')

  def setup(self) -> None:
    init, zeros = nn.initializers.normal(0.02), nn.initializers.zeros
    self.hidden_PC = self.weight('hidden_LPC', init, C=self.hidden)
    self.hidden_bias_C = self.weight('hidden_bias_LC', zeros, C=self.hidden)
    self.output_CN = self.weight('output_LCN', init, C=self.hidden)
    if self.form == 'cr':
      self.output_bias_N = self.weight('output_bias_LN', zeros)
    if self.cosine:
      self.log_factor_N = self.weight('log_factor_LN', nn.initializers.constant(math.log(10)))

  def query(self, q: AttentionInput) -> AttentionInput:
    if not self.cosine:
      return q
    return q.replace(h=unit(q.h, jnp.exp(jnp.minimum(self.log_factor_N, math.log(100)))))

  def key(self, k: AttentionInput) -> AttentionInput:
    return k.replace(h=unit(k.h)) if self.cosine else k

  def derive(self) -> dict[str, jax.Array]:
    input_RP = jnp.asarray(self.inputs(), self.hidden_PC.dtype)
    output_RN = network(input_RP, self.hidden_PC, self.hidden_bias_C, self.output_CN)
    if self.form == 'cr':
      return {'table_RN': output_RN + self.output_bias_N}
    return {'table_RN': 16 * nn.sigmoid(output_RN)}

  def inputs(self) -> np.ndarray:
    """Returns u of all differences in the window, [R, P], float64."""
    if self.form == 'cr':
      return log_spaced(differences(self.sizes))
    trained_P = np.array(each(self.pretrained, self.dims.P) if self.pretrained else self.sizes)
    # An axis of one position has no differences but 0.
    return log_spaced(8 * differences(self.sizes) / np.maximum(trained_P - 1, 1), base=8)

  def table(self) -> jax.Array:
    return self.derived('table_RN')


EXAMPLES = (
  dict(log_cpb=dict(window=(40,), pretrained=(12,), hidden=5, cosine=True)),
  dict(log_cpb=dict(window=(32,), hidden=4, form='cr')),
)
