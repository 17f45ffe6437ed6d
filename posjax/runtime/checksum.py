"""Checksums of arrays, which do not depend on their sharding, and of JSON values."""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp


@jax.jit
def of_arrays(tree: Any) -> dict[str, jax.Array]:
  """Returns {path: checksum} of all leaves of a tree, computed on their devices."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): of_array(leaf) for path, leaf in leaves}


def of_array(x: jax.Array) -> jax.Array:
  """Returns a checksum of an array of 32-bit numbers, from their bits and indices: uint32 [].

  A sum of integers is the same in any order, hence under any sharding. Each term is a bijection of
  a number's bits (the finalizer of MurmurHash3), so a change of one number is always detected.
  """
  place = jnp.uint32(0)
  for axis, size in enumerate(x.shape):
    place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32) ^ place * jnp.uint32(0x9E3779B1)
  bits = (bits ^ bits >> 16) * jnp.uint32(0x85EBCA6B)
  bits = (bits ^ bits >> 13) * jnp.uint32(0xC2B2AE35)
  return jnp.sum(bits ^ bits >> 16, dtype=jnp.uint32)


def of_json(value: Any) -> str:
  """Returns the SHA-256, in hex, of a JSON-serializable value."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
