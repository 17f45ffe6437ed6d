"""Bytes as tokens: nothing to train, nothing to download, every text is in the vocabulary.

A byte is its own token. The numbers after the bytes are the same in all tasks, so that a table of
one task's tokens begins with that of another; a document of text is [BOS, b1 … bn].
"""

import numpy as np

BOS, EOS, SEP, MASK, PAD = range(256, 261)  # begin, end, between question and answer, covered, none
TEXT = BOS + 1  # numbers in text, and
ALL = PAD + 1  # in tasks that use the others


def encode(text: bytes) -> np.ndarray:
  """The tokens of one document, int32 [1 + len(text)]: BOS, then its bytes."""
  tokens = np.empty(1 + len(text), np.int32)
  tokens[0] = BOS
  tokens[1:] = np.frombuffer(text, np.uint8)
  return tokens


def decode(tokens: np.ndarray) -> bytes:
  """The bytes among the tokens; BOS is dropped wherever it stands."""
  tokens = np.asarray(tokens)
  return tokens[tokens != BOS].astype(np.uint8).tobytes()
