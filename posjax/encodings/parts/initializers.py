"""First weights, as other libraries draw them."""

import jax


def torch_linear(inputs):
  """Uniform within 1/sqrt(inputs), for weights and offsets alike: PyTorch's Linear, as released."""
  bound = inputs**-0.5
  return lambda rng, shape, dtype: jax.random.uniform(rng, shape, dtype, -bound, bound)
