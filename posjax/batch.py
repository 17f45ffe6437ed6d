"""Batches: the inputs and the targets of a model, with a leading axis of rows."""

from typing import Any, NamedTuple, Protocol, TypeVar

import flax
import jax.numpy as jnp
import numpy as np

from posjax.encodings import Positions

Array = Any  # of jax; of numpy if a host creates it; or only a shape and dtype
Item = TypeVar('Item', covariant=True)


class Indexed(Protocol[Item]):
  """Items with random access, as Grain reads them."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int, /) -> Item: ...


@flax.struct.dataclass
class Stream:
  """The inputs of a model. The order of tokens is their index in the row.

  x            [B, T] token ids, or [B, T, C] vectors
  pos          [B, T, P] positions; None: 0, 1, … in each row
  segment_ids  [B, T] only tokens of one segment see each other; -1: padding; None: one per row
  """

  x: Array
  pos: Array | None = None
  segment_ids: Array | None = None

  def at(self, relative: bool = False) -> Positions:
    """Returns the positions.

    Args:
      relative: whether `pos` counts the tokens of each segment and only distances within a segment
        matter. All rows then share the positions 0, 1, …, which makes biases cheaper.
    """
    order_BT = jnp.arange(self.x.shape[1], dtype=jnp.int32)[None]
    segment_ids = jnp.zeros_like(order_BT) if self.segment_ids is None else self.segment_ids
    if relative or self.pos is None:
      return Positions(order_BT[..., None], order_BT, segment_ids, consecutive=True)
    return Positions(self.pos, order_BT, segment_ids)


@flax.struct.dataclass
class Batch:
  """Rows to train on or to score.

  stream   the inputs of the model
  source   the inputs of the encoder of a model that has one
  targets  [B, U, …] what the model must predict; it never reads them
  weights  [B, U] the weight of each target; 0: padding or a prompt. U is T, or set by the task
  """

  stream: Stream
  targets: Any
  weights: Array
  source: Stream | None = None


class Example(NamedTuple):
  """One example without padding; rows are packed or padded from examples.

  x        [T] or [T, C]
  targets  [U, …]
  weights  [U]
  pos      [T, P]; None: 0, 1, …
  source   [S] or [S, C] inputs of the encoder of a model that has one
  """

  x: np.ndarray
  targets: np.ndarray
  weights: np.ndarray
  pos: np.ndarray | None = None
  source: np.ndarray | None = None


def padded(examples: list[Example], length: int, answers: int) -> Batch:
  """Returns a batch with one example per row, padded to `length` tokens and `answers` targets.

  A source is padded to `length` tokens, too. If the examples have no positions, those of each row
  are 0, 1, ….
  """

  def stack(arrays: list[np.ndarray], size: int, fill: int = 0) -> np.ndarray:
    pad = lambda x: np.pad(
      x, [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1), constant_values=fill
    )
    return np.stack([pad(x) for x in arrays])

  def stream(x: Any, pos: Any) -> Stream:
    segments = stack([np.zeros(len(own), np.int32) for own in x], length, fill=-1)
    return Stream(stack(x, length), None if pos[0] is None else stack(pos, length), segments)

  x, targets, weights, pos, source = zip(*examples, strict=True)
  return Batch(
    stream(x, pos), stack(targets, answers), stack(weights, answers),
    None if source[0] is None else stream(source, [None] * len(source)),
  )
