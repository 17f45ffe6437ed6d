"""Positions of tokens on grids: images, videos, and texts with images or videos in them.

Cells of a grid are in row-major order, the last axis fastest: (row, column) of an image, (frame,
row, column) of a video. A task returns these arrays as `pos` of its examples; fractions need
`Task.pos_dtype` 'float32'.

The rules for text with images return positions (time, row, column) [T, 3] and the position on all
axes from which text goes on. A token of text has the same position on the three axes: without
images, they are those of text, 0, 1, 2, ….
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Grid = tuple[int, int, int]  # an image or a video: frames, rows, columns
Segment = int | Grid  # consecutive tokens: so many of text, or the cells of a grid


def grid(*sizes: int) -> np.ndarray:
  """Returns the index of each cell on each axis, [T, P] for P sizes, int32."""
  return np.indices(sizes, np.int32).reshape(len(sizes), -1).T


def centered(*sizes: int, unit: Callable[[Sequence[int]], int] | None = None) -> np.ndarray:
  """Returns the centers of the cells, 2 (i + 1/2) / N - 1, [T, P], float64: DINOv3's coordinates.

  Siméoni et al. 2025, arXiv 2508.10104. Without `unit`, a grid of any size covers (-1, 1).

  Args:
    sizes: of the grid.
    unit: `min` or `max`: N is the smallest or largest size on all axes, so that cells are square;
      None: N is the size of each axis.
  """
  return 2 * (grid(*sizes) + 0.5) / (unit(sizes) if unit else np.array(sizes)) - 1


def spread(*sizes: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
  """Returns numbers from `low` in the first cell to `high` in the last, [T, P], float64.

  LieRE (arXiv 2406.10322) counts from 0 to 1, timm's rotary embedding of pixels from -1 to 1. An
  axis of size 1 is at `low`.
  """
  return low + (high - low) * grid(*sizes) / np.maximum(np.array(sizes) - 1, 1)


def scaled(sizes: Sequence[int], reference: Sequence[int]) -> np.ndarray:
  """Returns indices in units of a reference grid, i N_reference / N, [T, P], float64.

  A larger image then covers the positions of the training images (timm's `ref_feat_shape`).
  """
  return grid(*sizes) * (np.array(reference) / sizes)


def mrope(segments: Sequence[Segment], interval: float = 1.0) -> tuple[np.ndarray, int]:
  """Returns M-RoPE's positions, [T, 3], int32, and the position where text goes on.

  Qwen2-VL, Wang et al. 2024, arXiv 2409.12191. A grid that begins at position s has the positions
  s + floor(frame interval), s + row, s + column. Text continues after the largest position on any
  axis. (transformers from 5.3 on continues after s + max(rows, columns) - 1, which differs for
  videos with more frames than rows and columns.)

  Args:
    segments: in the order of the tokens.
    interval: positions between frames: 1 in Qwen2-VL; in Qwen2.5-VL (arXiv 2502.13923) positions
      per second times the seconds between frames.
  """

  def place(start: int, sizes: Grid) -> tuple[np.ndarray, int]:
    steps_T3 = grid(*sizes) * np.array([interval, 1, 1])
    pos_T3 = start + np.floor(steps_T3).astype(np.int32)
    return pos_T3, int(pos_T3.max()) + 1

  return _in_turn(segments, place, np.int32)


def timed(video: Grid, stamp: int) -> list[Segment]:
  """Returns a video as segments for `mrope`: each frame follows a time in `stamp` tokens of text.

  Qwen3-VL (arXiv 2511.21631) tells time by text; the frames are images.
  """
  frames, rows, columns = video
  return [stamp, (1, rows, columns)] * frames


def diagonal(segments: Sequence[Segment], spacing: float = 2.0) -> tuple[np.ndarray, float]:
  """Returns VideoRoPE's positions, [T, 3], float32, and the position where text goes on.

  Wei et al. 2025, ICML 2025, arXiv 2502.05173. A frame's rows and columns are counted from its
  center, which moves along the diagonal of the three axes; text continues after the last frame's
  time. So some rows and columns are before their time, even before the preceding text.

    time = s + spacing frame,   time + row - floor((rows - 1) / 2),   the same for columns
  """

  def place(start: float, sizes: Grid) -> tuple[np.ndarray, float]:
    middle = (np.array(sizes) - 1) // 2
    cell_T3 = grid(*sizes)
    time_T1 = start + spacing * cell_T3[:, :1]
    return time_T1 + (cell_T3 - middle) * np.array([0, 1, 1]), time_T1[-1, 0] + 1

  return _in_turn(segments, place, np.float32)


def _in_turn(
  segments: Sequence[Segment], place: Callable[[Any, Grid], tuple[np.ndarray, Any]], dtype: type
) -> tuple[np.ndarray, Any]:
  """Counts the tokens of text; `place(start, sizes)` returns positions of a grid and the next."""
  start, parts = 0, [np.zeros((0, 3))]
  for segment in segments:
    if isinstance(segment, tuple):
      pos_T3, start = place(start, segment)
    else:
      pos_T3 = np.repeat(start + np.arange(segment)[:, None], 3, axis=1)
      start = start + segment
    parts.append(pos_T3)
  return np.concatenate(parts).astype(dtype), start
