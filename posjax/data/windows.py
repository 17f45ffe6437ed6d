"""Held-out text cut into windows, by two protocols that score the same tokens at every length.

Non-overlapping: windows of L tokens without context before them. All tokens are scored, so that
early tokens with little context weigh more at shorter L. Sliding: a window of L tokens advances by
a stride, and only its last `stride` tokens are scored, each with at least L - stride tokens of
context (Press et al. 2021, arXiv 2108.12409, appendix B, discuss both). A window is one context,
with positions from 0 to L - 1, within one document; only documents shorter than two of the longest
windows are joined.
"""

import numpy as np


def non_overlapping(texts: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns windows [rows, length + 1]; neighbors share one token. All weights are True."""
  windows = []
  for text in texts:
    rows = (len(text) - 1) // length
    following = text[length : rows * length + 1 : length]
    windows.append(np.c_[text[: rows * length].reshape(rows, length), following])
  return np.concatenate(windows), np.ones((sum(map(len, windows)), length), bool)


def sliding(
  texts: list[np.ndarray], length: int, *, stride: int, first: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns `count` windows [count, length + 1], whose last `stride` targets have weight True.

  The windows advance by `stride` from token `first` on; `count` of them are taken, evenly spaced.
  """
  ends = slides(texts, stride, first)
  ends = [ends[i] for i in np.linspace(0, len(ends) - 1, count).astype(int)]
  windows = np.stack([texts[text][end - length : end + 1] for text, end in ends])
  return windows, np.broadcast_to(np.arange(length) >= length - stride, (len(ends), length))


def slides(texts: list[np.ndarray], stride: int, first: int) -> list[tuple[int, int]]:
  """Returns (index of the text, index of its last token in the text) of each sliding window."""
  return [
    (index, end) for index, text in enumerate(texts)
    for end in range(first + stride, len(text), stride)
  ]
