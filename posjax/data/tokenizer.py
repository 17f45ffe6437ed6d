"""Bytes as tokens: nothing to train or download, and any text can be encoded.

The id of a byte is its value. The ids after the bytes are the same in all tasks, so that the token
tables of different tasks share their first rows. A document of text is [BOS, b1 … bn].
"""

import numpy as np

BOS, EOS, SEP, MASK, PAD = range(256, 261)  # SEP: between question and answer
TEXT = BOS + 1  # vocabulary size of text
ALL = PAD + 1  # vocabulary size with all special tokens


def encode(text: bytes) -> np.ndarray:
  """Returns the tokens of one document, int32 [1 + len(text)]: BOS, then its bytes."""
  tokens = np.empty(1 + len(text), np.int32)
  tokens[0] = BOS
  tokens[1:] = np.frombuffer(text, np.uint8)
  return tokens


def decode(tokens: np.ndarray) -> bytes:
  """Returns the bytes of the tokens; every BOS is dropped."""
  tokens = np.asarray(tokens)
  return tokens[tokens != BOS].astype(np.uint8).tobytes()
