"""Trees of arrays: select differentiable leaves; read, write and add to blocks of leaves."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def floats(tree: Any) -> Any:
  """Returns the tree with None for each leaf that is not differentiable."""
  inexact = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.inexact)
  return jax.tree.map(lambda x: x if inexact(x) else None, tree)


def merge(floats: Any, tree: Any) -> Any:
  """Returns `tree` with its differentiable leaves replaced by `floats`."""
  other = lambda new, old: old if new is None else new
  return jax.tree.map(other, floats, tree, is_leaf=lambda x: x is None)


def zeros(tree: Any) -> Any:
  """Returns zeros in float32 or wider, to accumulate in."""
  at_least_float32 = lambda x: jnp.promote_types(x.dtype, jnp.float32)
  return jax.tree.map(lambda x: jnp.zeros_like(x, at_least_float32(x)), tree)


def add(total: Any, part: Any) -> Any:
  return jax.tree.map(jnp.add, total, part)


def like(tree: Any, other: Any) -> Any:
  """Casts the tree to the dtypes of `other`."""
  return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, other)


def take(tree: Any, i: jax.Array | int) -> Any:
  """Returns block `i` of each leaf."""
  return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), tree)


def put(tree: Any, block: Any, i: jax.Array | int) -> Any:
  """Writes block `i` of each leaf."""
  return jax.tree.map(lambda x, y: lax.dynamic_update_index_in_dim(x, y, i, 0), tree, block)


def add_at(tree: Any, part: Any, start: jax.Array | int) -> Any:
  """Adds `part` to the last axis of each leaf, from index `start` on."""

  def one(x, y):
    old = lax.dynamic_slice_in_dim(x, start, y.shape[-1], -1)
    return lax.dynamic_update_slice_in_dim(x, old + y, start, x.ndim - 1)

  return jax.tree.map(one, tree, part)


def vjp(function: Callable[..., Any], *args: Any) -> tuple[Any, Callable[[Any], Any]]:
  """Like `jax.vjp`, but non-differentiable leaves of the arguments get None as their gradient."""
  out, pull = jax.vjp(lambda given: function(*merge(given, args)), floats(args))
  return out, lambda cotangents: pull(cotangents)[0]
