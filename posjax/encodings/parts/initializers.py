"""Initial weights, as other libraries draw them."""

from collections.abc import Callable

import jax


def torch_linear(inputs: int) -> Callable[..., jax.Array]:
  """Returns the initializer of PyTorch's Linear, also for biases: uniform within 1/sqrt(inputs)."""
  bound = inputs**-0.5
  return lambda rng, shape, dtype: jax.random.uniform(rng, shape, dtype, -bound, bound)
