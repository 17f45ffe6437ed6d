"""Initial weights, as other libraries draw them."""

import jax


def torch_linear(inputs):
  """Returns the initializer of PyTorch's Linear, also for biases: uniform within 1/sqrt(inputs)."""
  bound = inputs**-0.5
  return lambda rng, shape, dtype: jax.random.uniform(rng, shape, dtype, -bound, bound)
