"""Blocks of channels multiplied by exponentials of skew-symmetric matrices, for LieRE and ComRoPE.

The exponential is computed from the eigenvalues of the Hermitian matrix iA.
"""

import numpy as np

NOWHERE = -(2**24)


def skew(upper, size):
  """The size (size - 1) / 2 entries above the diagonal -> matrix [size, size]."""
  out, entries = np.zeros((size, size)), iter(np.asarray(upper, np.float64))
  for i in range(size):
    for j in range(i + 1, size):
      out[i, j] = next(entries)
      out[j, i] = -out[i, j]
  return out


def exponential(A):
  """exp(A) for A^T = -A."""
  eigenvalues, vectors = np.linalg.eigh(1j * A)
  return (vectors * np.exp(-1j * eigenvalues) @ vectors.conj().T).real


def turn(x, pos, generator, block, unit):
  """x [B,L,N,H]; generator(head, j, p) is the exponent of block j at coordinates p.

  A token at -2^24 has no place and does not rotate.
  """
  out, pos = np.array(x, np.float64), np.asarray(pos, np.float64)
  batch, length, heads, size = out.shape
  for b, t in np.ndindex(batch, length):
    if pos[b, t, 0] == NOWHERE:
      continue
    for n in range(heads):
      for j in range(size // block):
        own = slice(j * block, (j + 1) * block)
        out[b, t, n, own] = exponential(generator(n, j, pos[b, t] / unit)) @ out[b, t, n, own]
  return out
