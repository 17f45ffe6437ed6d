"""Held-out text cut into windows, by two protocols that score the same bytes at every length.

Non-overlapping: windows of L bytes, each read from nothing; all bytes count, so that early ones
with little context weigh more the shorter L is. Sliding: a window of L moves on by a stride, and
only its last `stride` bytes count, so that each has at least L - stride bytes of context (Press et
al. 2021, arXiv 2108.12409, appendix B, discuss the two). A window is one context, with positions
from 0 to L - 1, and lies in one document; only documents that are shorter than two of the longest
windows are joined.
"""

import numpy as np


def non_overlapping(texts: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
  """Windows of length + 1 tokens that share one, [rows, length + 1], and weights, all 1."""
  windows = []
  for text in texts:
    rows = (len(text) - 1) // length
    following = text[length : rows * length + 1 : length]
    windows.append(np.c_[text[: rows * length].reshape(rows, length), following])
  return np.concatenate(windows), np.ones((sum(map(len, windows)), length), bool)


def sliding(
  texts: list[np.ndarray], length: int, *, stride: int, first: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Windows whose last `stride` targets count, one stride after the other from token `first` on.

  Of all that the texts have, `count` are taken, evenly spaced.
  """
  ends = slides(texts, stride, first)
  ends = [ends[i] for i in np.linspace(0, len(ends) - 1, count).astype(int)]
  windows = np.stack([texts[text][end - length : end + 1] for text, end in ends])
  return windows, np.broadcast_to(np.arange(length) >= length - stride, (len(ends), length))


def slides(texts: list[np.ndarray], stride: int, first: int) -> list[tuple[int, int]]:
  """(index of a text, index of the last token in it) of each window that slides."""
  return [
    (index, end) for index, text in enumerate(texts)
    for end in range(first + stride, len(text), stride)
  ]
