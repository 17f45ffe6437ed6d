"""Products of activations and weights, with gradients that XLA's fast CPU kernel can compute.

On a CPU, XLA has a fast kernel for float32 products a_MK b_KN if both operands are row-major. The
gradient of the weights in y = x w is x^T dy. Autodiff leaves that transpose to the product, which
then takes a slow path: 36 instead of 69 GFLOP/s for x [4096, 256] and dy [4096, 1024] on one core,
and 21 if x and dy also have an axis of rows (AMD EPYC with AVX2, jax 0.10.2, 2026-11-30). Therefore
this module transposes the smaller of x and dy first.

The fast kernel rearranges the weights in each call, which does not pay off for few rows: for 16
rows, decoded together, the other path takes half the time.
"""

import jax
import jax.numpy as jnp
from jax import lax

FEW = 32  # up to this many rows, the fast kernel is slower


def product(x: jax.Array, w: jax.Array, axes: int = 1) -> jax.Array:
  """Contracts the last `axes` axes of `x` with the first `axes` of `w`: [..., *rest of w].

  On a CPU it does not support forward-mode autodiff.
  """
  # Collapse several axes into one: otherwise XLA may transpose the weights for each decoded token.
  x, w = lax.collapse(x, x.ndim - axes), lax.collapse(w, 0, axes)
  if not has_fast_kernel(x.dtype):
    return jnp.tensordot(x, w, 1)
  return matmul(x, lax.collapse(w, 1)).reshape(*x.shape[:-1], *w.shape[1:])


def has_fast_kernel(dtype: jax.typing.DTypeLike) -> bool:
  """Returns whether to transpose first; other devices are fast without, or were not measured.

  The kernel has no float64, but float64 takes this path too, so that tests check every digit.
  """
  return jax.default_backend() == 'cpu' and dtype != jnp.bfloat16


@jax.custom_vjp
def matmul(x: jax.Array, w_IO: jax.Array) -> jax.Array:
  x_MI = rows(x)
  if len(x_MI) > FEW:
    return x @ w_IO
  x_IM = lax.optimization_barrier(x_MI.T)
  y_MO = lax.dot_general(x_IM, w_IO, (((0,), (0,)), ((), ())))
  return y_MO.reshape(*x.shape[:-1], -1)


def backward(kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
  x, w_IO = kept
  return dy @ w_IO.T, transposed_product(rows(x), rows(dy))


def rows(x: jax.Array) -> jax.Array:
  return x.reshape(-1, x.shape[-1])


matmul.defvjp(lambda x, w_IO: (matmul(x, w_IO), (x, w_IO)), backward)


def transposed_product(x_MI: jax.Array, dy_MO: jax.Array) -> jax.Array:
  """Returns x^T dy, [I, O]. The barriers stop XLA from folding the transposes into the product."""
  if x_MI.shape[1] > dy_MO.shape[1]:
    return lax.optimization_barrier(transposed_product(dy_MO, x_MI)).T
  return lax.optimization_barrier(x_MI.T) @ dy_MO
