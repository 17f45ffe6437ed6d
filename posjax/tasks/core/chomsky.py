"""Tasks of the Chomsky hierarchy: formal languages of four levels, for length generalization.

Delétang et al. 2023, "Neural networks and the Chomsky hierarchy", arXiv 2207.02098. Ruoss et al.
2023, "Randomized positional encodings boost length generalization of Transformers", arXiv
2305.16843, train an encoder on strings of 1 to 40 tokens and test it on 41 to 500.

The size of a problem is the number of input tokens. An encoder reads the input and a MASK for each
answer slot, and predicts all slots in one pass, as in the papers. A decoder, or an encoder-decoder,
generates the answer and EOS.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from posjax.batch import Batch
from posjax.tasks.core.strings import Strings

ZERO, END = ord('0'), ord('2')  # END: the terminator of an answer of variable length
SAMPLE = 1024  # problems that choose a guess, and as many that score it


def tokens(text: str) -> np.ndarray:
  """Returns the ids of an ASCII string."""
  return np.frombuffer(text.encode('ascii'), np.uint8).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Chomsky(Strings):
  """A task of the suite; by default, the answer is as long as the question."""

  forms = ('encoder', 'decoder', 'encoder_decoder')


@dataclasses.dataclass(frozen=True)
class Label(Chomsky):
  """A task whose answer is one token."""

  def longest(self, size: int) -> tuple[int, int]:
    return size, 1


@dataclasses.dataclass(frozen=True)
class Terminated(Chomsky):
  """A task whose answer has a variable length. Override `problem`, and `slots` if there are fewer.

  In an encoder, the slots are the value, the terminator 2, and zeros. All slots have a loss;
  accuracy and exact match cover those up to and including the terminator.
  """

  def problem(self, rng: np.random.Generator, size: int) -> tuple[str, str]:
    """Returns the input and the value, without terminator and padding."""
    raise NotImplementedError

  def slots(self, size: int) -> int:
    """Returns the number of answer slots of an encoder."""
    return size + 1

  def longest(self, size: int) -> tuple[int, int]:
    return size, self.slots(size) - (self.form != 'encoder')

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    question, value = self.problem(rng, size)
    if self.form == 'encoder':
      value = f'{value}2'.ljust(self.slots(size), '0')
    return tokens(question), tokens(value)

  def guess(self, size: int) -> float:
    """Returns the accuracy of the likeliest token at each place, estimated from samples.

    In a decoder, answers have different lengths, and the guess knows the length of each.
    """
    rng = np.random.default_rng(0)
    return by_place([self.make(rng, size)[1] for _ in range(2 * SAMPLE)])

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    found = super().metrics(outputs, batch)
    if self.form == 'encoder':
      scored = super().metrics(outputs, dataclasses.replace(batch, weights=to_end(batch)))
      found |= {name: scored[name] for name in self.shown}
    return found


def to_end(batch: Batch) -> jax.Array:
  """Returns the mask [B, T] of the answer slots up to and including the terminator.

  Each answer has one terminator, and the answers of a row are its segments 0, 1, …: a slot is
  before its own terminator if the row has as many terminators before it as complete segments.
  """
  end_BT = batch.weights & (batch.targets == END)
  before_BT = jnp.cumsum(end_BT, axis=1) - end_BT
  return batch.weights & (before_BT == batch.stream.segment_ids)


def by_place(answers: list[np.ndarray]) -> float:
  """Returns the token accuracy of the most frequent token, up to and including the terminator.

  The most frequent token is that at the same place of the answers of equal length, among the
  answers with an even index; the other answers score it.
  """
  right = scored = 0
  for length in {len(answer) for answer in answers}:
    answers_AU = np.stack([answer for answer in answers if len(answer) == length])
    end_AU = answers_AU == END
    asked_AU = np.cumsum(end_AU, axis=1) - end_AU == 0
    one_hot_AUV = (answers_AU[..., None] == ZERO + np.arange(3)) & asked_AU[..., None]
    best_U = np.argmax(one_hot_AUV[::2].sum(axis=0), axis=-1)
    right += np.sum(asked_AU[1::2] & (answers_AU[1::2] == ZERO + best_U))
    scored += np.sum(asked_AU[1::2])
  return float(right / scored) if scored else 1.0
