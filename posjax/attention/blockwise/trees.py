"""Trees of arrays: select differentiable leaves; read, write and add to blocks of leaves."""

import jax
import jax.numpy as jnp
from jax import lax


def floats(tree):
  """Returns the tree with None for each leaf that is not differentiable."""
  inexact = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.inexact)
  return jax.tree.map(lambda x: x if inexact(x) else None, tree)


def merge(floats, tree):
  """Returns `tree` with its differentiable leaves replaced by `floats`."""
  other = lambda new, old: old if new is None else new
  return jax.tree.map(other, floats, tree, is_leaf=lambda x: x is None)


def zeros(tree):
  """Returns zeros in float32 or wider, to accumulate in."""
  at_least_float32 = lambda x: jnp.promote_types(x.dtype, jnp.float32)
  return jax.tree.map(lambda x: jnp.zeros_like(x, at_least_float32(x)), tree)


def add(total, part):
  return jax.tree.map(jnp.add, total, part)


def like(tree, other):
  """Casts the tree to the dtypes of `other`."""
  return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, other)


def take(tree, i):
  """Returns block `i` of each leaf."""
  return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), tree)


def put(tree, block, i):
  """Writes block `i` of each leaf."""
  return jax.tree.map(lambda x, y: lax.dynamic_update_index_in_dim(x, y, i, 0), tree, block)


def add_at(tree, part, start):
  """Adds `part` to the last axis of each leaf, from index `start` on."""

  def one(x, y):
    old = lax.dynamic_slice_in_dim(x, start, y.shape[-1], -1)
    return lax.dynamic_update_slice_in_dim(x, old + y, start, x.ndim - 1)

  return jax.tree.map(one, tree, part)


def vjp(function, *args):
  """Like `jax.vjp`, but non-differentiable leaves of the arguments get None as their gradient."""
  out, pull = jax.vjp(lambda given: function(*merge(given, args)), floats(args))
  return out, lambda cotangents: pull(cotangents)[0]
