"""Spans in BIO tags: where they start and end, counted inside jit.

Tag 0 is O, tag 1 + 2 k is B of kind k, tag 2 + 2 k is I of kind k. The spans are those of seqeval's
default mode, which is CoNLL-2000's: B starts a span, and so does an I after O or after another
kind. A span ends before O, before the start of the next span, and at the end of its sentence.
"""

import jax
import jax.numpy as jnp


def count(
  predicted_BT: jax.Array, true_BT: jax.Array, tagged_BT: jax.Array, segment_ids_BT: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns three masks [B, T] of the first tokens of spans: hits, predicted spans, true spans.

  A hit is a predicted span with the start, the end and the kind of a true one.

  Args:
    predicted_BT: tags; read only where `tagged_BT`.
    true_BT: the same.
    tagged_BT: one token of each word.
    segment_ids_BT: one id for each sentence of a row.
  """
  starts_BT, ends_BT = spans(predicted_BT, tagged_BT, segment_ids_BT)
  true_starts_BT, true_ends_BT = spans(true_BT, tagged_BT, segment_ids_BT)
  same_BT = (kind(predicted_BT) == kind(true_BT)) & (ends_BT == true_ends_BT)
  return starts_BT & true_starts_BT & same_BT, starts_BT, true_starts_BT


def kind(tags: jax.Array) -> jax.Array:
  return (tags - 1) // 2


def spans(
  tags_BT: jax.Array, tagged_BT: jax.Array, segment_ids_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns whether a span starts at a token, and the index of the first word after it, [B, T].

  The word may be in the next sentence; the index is T if there is none.
  """
  T = tags_BT.shape[1]
  index_BT = jnp.broadcast_to(jnp.arange(T), tags_BT.shape)
  shifted_BT = jnp.roll(segment_ids_BT, 1, axis=1)
  new_BT = (index_BT == 0) | (segment_ids_BT != shifted_BT)
  # Each token gets the tag of the last word that has one, or O at the start of a sentence.
  tags_BT = jnp.where(tagged_BT, tags_BT, 0)
  last_BT = jax.lax.cummax(jnp.where(tagged_BT | new_BT, index_BT, 0), axis=1)
  carried_BT = jnp.take_along_axis(tags_BT, last_BT, axis=1)
  before_BT = jnp.where(new_BT, 0, jnp.roll(carried_BT, 1, axis=1))

  other_BT = (before_BT == 0) | (kind(before_BT) != kind(tags_BT))
  starts_BT = (tags_BT > 0) & ((tags_BT % 2 == 1) | other_BT)
  ends_BT = starts_BT | (tagged_BT & (tags_BT == 0))  # true of the first word of a sentence
  next_BT = jax.lax.cummin(jnp.where(ends_BT, index_BT, T), axis=1, reverse=True)
  return starts_BT, jnp.pad(next_BT[:, 1:], ((0, 0), (0, 1)), constant_values=T)
