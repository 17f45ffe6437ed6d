"""Nearest neighbors of a vector by cosine similarity."""

import numpy as np


def cosines(vectors: np.ndarray, vector: np.ndarray) -> np.ndarray:
  """Returns [V], the cosines of `vectors` [V, D] with `vector` [D]; 0 for a vector of zeros."""
  lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
  return vectors @ vector / np.where(lengths == 0, 1, lengths)


def nearest(
  words: list[str], vectors: np.ndarray, vector: np.ndarray, count: int, skip: str = ''
) -> list[tuple[str, float]]:
  """Returns the `count` words with the largest cosines, as (word, cosine), without `skip`."""
  similarity = cosines(vectors, vector)
  order = np.argsort(-similarity)[: count + 1]
  return [(words[i], float(similarity[i])) for i in order if words[i] != skip][:count]
