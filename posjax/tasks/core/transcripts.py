"""Transcripts of speech: connectionist temporal classification (CTC), and error rates.

Graves et al. 2006, "Connectionist temporal classification", ICML, section 3: a model labels each
frame with a token or BLANK. A labelling stands for the tokens that are left when equal labels in a
row become one and BLANK is dropped; the loss sums over all labellings of a transcript.

Transcripts are bytes of ASCII from the left, [B, U], with BLANK after their end. An error rate is
the number of insertions, deletions and substitutions that a transcript is away from the true one,
in relation to the length of the true one: of characters, or of words, which spaces separate.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

BLANK, SPACE = 0, ord(' ')
OUTPUTS = 128  # ASCII


def to_ascii(texts: Sequence[str], length: int) -> np.ndarray:
  """Returns texts as transcripts [B, length], '?' in place of other characters."""
  rows = [np.frombuffer(text.encode('ascii', 'replace'), np.uint8) for text in texts]
  return np.stack([np.pad(row, (0, length - len(row))) for row in rows]).astype(np.int32)


def ctc_loss(outputs_BTV: jax.Array, there_BT: jax.Array, transcripts_BU: jax.Array) -> jax.Array:
  """Returns the nats of each transcript, [B].

  A transcript that needs more frames than there are costs 100,000 nats or more.

  Args:
    outputs_BTV: logits.
    there_BT: whether a frame is no padding.
    transcripts_BU: the true transcripts.
  """
  padding = lambda real: 1.0 - real.astype(outputs_BTV.dtype)
  return optax.ctc_loss(
    outputs_BTV, padding(there_BT), transcripts_BU, padding(transcripts_BU != BLANK),
    blank_id=BLANK,
  )


def greedy(outputs_BTV: jax.Array, there_BT: jax.Array) -> jax.Array:
  """Returns the transcript of the likeliest labelling, [B, T]; see `ctc_loss`."""
  labels_BT = jnp.where(there_BT, jnp.argmax(outputs_BTV, axis=-1), BLANK)
  before_BT = jnp.pad(labels_BT[:, :-1], ((0, 0), (1, 0)), constant_values=BLANK)
  dropped_BT = (labels_BT == BLANK) | (labels_BT == before_BT)
  order_BT = jnp.argsort(dropped_BT, axis=1, stable=True)
  return jnp.take_along_axis(jnp.where(dropped_BT, BLANK, labels_BT), order_BT, axis=1)


def edit_distance(same_BUV: jax.Array, x_length_B: jax.Array, y_length_B: jax.Array) -> jax.Array:
  """Returns the edit distance (Levenshtein 1966) of two sequences in each row, [B] int32.

  Args:
    same_BUV: whether item u of x equals item v of y.
    x_length_B: items of x.
    y_length_B: items of y.
  """
  B, U, V = same_BUV.shape
  place = jnp.arange(V + 1)

  def add(row_BV: jax.Array, item: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
    """Returns the distances of one more item of x from each beginning of y."""
    index, same_BV = item
    least = (row_BV + 1).at[:, 1:].min(row_BV[:, :-1] + ~same_BV)
    # An insertion after k items of y costs one for each item that follows: a running minimum.
    new_BV = jax.lax.cummin(least - place, axis=1) + place
    return jnp.where(index < x_length_B[:, None], new_BV, row_BV), None

  first_BV = jnp.broadcast_to(place, (B, V + 1))
  row_BV, _ = jax.lax.scan(add, first_BV, (jnp.arange(U), same_BUV.swapaxes(0, 1)))
  return jnp.take_along_axis(row_BV, y_length_B[:, None], axis=1)[:, 0]


def words(transcripts_BU: jax.Array, longest: int) -> tuple[jax.Array, jax.Array]:
  """Returns the words of transcripts, [B, W, longest + 1], and how many there are, [B].

  Of a word that is longer than `longest` letters, the first `longest` + 1 are kept: it differs from
  every word that is not.
  """
  B, U = transcripts_BU.shape
  letter_BU = (transcripts_BU != BLANK) & (transcripts_BU != SPACE)
  start_BU = letter_BU & ~jnp.pad(letter_BU[:, :-1], ((0, 0), (1, 0)))
  word_BU = jnp.where(letter_BU, jnp.cumsum(start_BU, axis=1) - 1, U)  # U is dropped
  first_BU = jax.lax.cummax(jnp.where(start_BU, jnp.arange(U), 0), axis=1)
  found = jnp.zeros((B, (U + 1) // 2, longest + 1), transcripts_BU.dtype)
  found = found.at[jnp.arange(B)[:, None], word_BU, jnp.arange(U) - first_BU].set(
    transcripts_BU, mode='drop'
  )
  return found, jnp.sum(start_BU, axis=1)


def error_rates(
  x_BU: jax.Array, y_BV: jax.Array, longest: int
) -> dict[str, tuple[jax.Array, jax.Array]]:
  """Returns {'character error', 'word error': (rates [B], lengths of the true transcripts [B])}.

  The means, weighted by the lengths, are the error rates of all transcripts together.

  Args:
    x_BU: transcripts.
    y_BV: the true ones.
    longest: letters of the longest true word.
  """
  count = lambda own: jnp.sum(own != BLANK, axis=1)
  (x_words, x_count_B), (y_words, y_count_B) = words(x_BU, longest), words(y_BV, longest)
  distances = {
    'character error': (x_BU[:, :, None] == y_BV[:, None], count(x_BU), count(y_BV)),
    'word error': (jnp.all(x_words[:, :, None] == y_words[:, None], axis=-1), x_count_B, y_count_B),
  }
  return {
    name: (edit_distance(*own) / jnp.maximum(own[2], 1), own[2])
    for name, own in distances.items()
  }


def mean_rates(x_BU: np.ndarray, y_BV: np.ndarray, longest: int) -> dict[str, float]:
  """Returns the error rates of all transcripts together, see `error_rates`."""
  rates = jax.jit(error_rates, static_argnums=2)(x_BU, y_BV, longest)
  return {name: float(np.average(value, weights=length)) for name, (value, length) in rates.items()}
