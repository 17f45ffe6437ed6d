"""Numbers that tell whether something is what it was, however it is spread over devices."""

import hashlib
import json

import jax
import jax.numpy as jnp


@jax.jit
def of_arrays(tree):
  """{path: checksum} of all leaves of a tree, computed where they lie."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): of_array(leaf) for path, leaf in leaves}


def of_array(x):
  """uint32 [] of an array of 32-bit numbers: of each one's bits and of its place.

  A sum of integers is the same in any order, and so under any sharding. Each term is a bijection of
  a number's bits (the finaliser of MurmurHash3), so the change of one number is always seen.
  """
  place = jnp.uint32(0)
  for axis, size in enumerate(x.shape):
    place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32) ^ place * jnp.uint32(0x9E3779B1)
  bits = (bits ^ bits >> 16) * jnp.uint32(0x85EBCA6B)
  bits = (bits ^ bits >> 13) * jnp.uint32(0xC2B2AE35)
  return jnp.sum(bits ^ bits >> 16, dtype=jnp.uint32)


def of_json(value):
  """SHA-256, in hex, of a JSON-able value."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
