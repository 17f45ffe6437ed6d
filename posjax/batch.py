"""Batches: what a model reads and what it is to predict, rows first."""

from typing import Any, NamedTuple, Protocol, TypeVar

import flax
import jax.numpy as jnp
import numpy as np

from posjax.encodings import Positions

Array = Any  # jax's; numpy's where a host makes it; or shape and dtype alone
Item = TypeVar('Item', covariant=True)


class Indexed(Protocol[Item]):
  """What Grain reads: items with random access."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int, /) -> Item: ...


@flax.struct.dataclass
class Stream:
  """What one end of a model reads. The order of tokens is their index in the row.

  x            [B, T] numbers of tokens, or [B, T, C] vectors
  pos          [B, T, P] positions; None: 0, 1, … in each row
  segment_ids  [B, T] only tokens of one segment see each other; -1: padding; None: a row is one
  """

  x: Array
  pos: Array | None = None
  segment_ids: Array | None = None

  def at(self, relative: bool = False) -> Positions:
    """Returns the positions.

    Args:
      relative: whether `pos` counts the tokens of each segment and only distances within a segment
        matter. Then all rows share the positions 0, 1, …, which makes biases cheaper.
    """
    order_BT = jnp.arange(self.x.shape[1], dtype=jnp.int32)[None]
    segment_ids = jnp.zeros_like(order_BT) if self.segment_ids is None else self.segment_ids
    if relative or self.pos is None:
      return Positions(order_BT[..., None], order_BT, segment_ids, consecutive=True)
    return Positions(self.pos, order_BT, segment_ids)


@flax.struct.dataclass
class Batch:
  """Rows to learn from, or to score.

  stream   what the model reads
  targets  [B, U, …] what it is to predict; no model reads them
  weights  [B, U] how much each target counts; 0: padding, a prompt. U is T, or what the task says
  """

  stream: Stream
  targets: Any
  weights: Array


class Example(NamedTuple):
  """One example without padding: rows are packed or padded from these.

  x        [T] or [T, C]
  targets  [U, …]
  weights  [U]
  pos      [T, P]; None: 0, 1, …
  """

  x: np.ndarray
  targets: np.ndarray
  weights: np.ndarray
  pos: np.ndarray | None = None


def padded(examples: list[Example], length: int, answers: int) -> Batch:
  """Returns a batch with an example in each row, padded to `length` tokens and `answers` targets.

  Positions that the examples do not give are 0, 1, … in each row.
  """

  def stack(arrays: list[np.ndarray], size: int, fill: int = 0) -> np.ndarray:
    pad = lambda x: np.pad(
      x, [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1), constant_values=fill
    )
    return np.stack([pad(x) for x in arrays])

  streams, targets, weights, pos = zip(*examples, strict=True)
  segments = [np.zeros(len(x), np.int32) for x in streams]
  return Batch(
    Stream(
      stack(streams, length), None if pos[0] is None else stack(pos, length),
      stack(segments, length, fill=-1),
    ),
    stack(targets, answers), stack(weights, answers),
  )
