"""Bytes as tokens: nothing to train, nothing to download, every text is in the vocabulary.

A document is [BOS, b1 … bn]; a byte is its own token and BOS is the 257th.
"""

import numpy as np

VOCABULARY = 257
BOS = 256


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
