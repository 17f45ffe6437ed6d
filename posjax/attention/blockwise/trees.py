"""Trees of arrays: their differentiable leaves, and blocks of them read, written and added to."""

import jax
import jax.numpy as jnp
from jax import lax


def floats(tree):
  """The tree with None in place of each leaf that no gradient flows through."""
  inexact = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.inexact)
  return jax.tree.map(lambda x: x if inexact(x) else None, tree)


def merge(floats, tree):
  """`tree` with other `floats`."""
  other = lambda new, old: old if new is None else new
  return jax.tree.map(other, floats, tree, is_leaf=lambda x: x is None)


def zeros(tree):
  """Sums of nothing, wide enough to add up many."""
  at_least_float32 = lambda x: jnp.promote_types(x.dtype, jnp.float32)
  return jax.tree.map(lambda x: jnp.zeros_like(x, at_least_float32(x)), tree)


def add(total, part):
  return jax.tree.map(jnp.add, total, part)


def like(tree, other):
  """The tree in the dtypes of `other`."""
  return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, other)


def take(tree, i):
  """Block `i` of each leaf."""
  return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), tree)


def put(tree, block, i):
  """Writes block `i` of each leaf."""
  return jax.tree.map(lambda x, y: lax.dynamic_update_index_in_dim(x, y, i, 0), tree, block)


def add_at(tree, part, start):
  """Adds to the last axis of each leaf from `start` on."""

  def one(x, y):
    old = lax.dynamic_slice_in_dim(x, start, y.shape[-1], -1)
    return lax.dynamic_update_slice_in_dim(x, old + y, start, x.ndim - 1)

  return jax.tree.map(one, tree, part)


def vjp(function, *args):
  """As `jax.vjp`, for arguments with leaves that no gradient flows through: they get None."""
  out, pull = jax.vjp(lambda given: function(*merge(given, args)), floats(args))
  return out, lambda cotangents: pull(cotangents)[0]
