"""Helpers for figures."""

from itertools import accumulate


def spread_labels(heights: list[float], gap: float) -> list[float]:
  """Returns ascending heights in [0, 1], moved within [0, 1] to be at least `gap` apart."""
  last = len(heights) - 1
  up = accumulate(heights, lambda below, height: max(height, below + gap))
  down = [*accumulate(heights[::-1], lambda above, height: min(height, above - gap))][::-1]
  return [
    (min(u, 1 - (last - i) * gap) + max(d, i * gap)) / 2
    for i, (u, d) in enumerate(zip(up, down, strict=True))
  ]


def printable(text: str) -> str:
  """Returns a text with a placeholder for each unprintable character."""
  return ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}' for c in text)
