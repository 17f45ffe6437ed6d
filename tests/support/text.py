"""Text as a training run reads it."""

from posjax import data
from posjax.data.tokenized import Pieces, documents
from posjax.data.tokenizer import BYTES


def batches(corpus, *, length, **settings):
  """Returns the training batches of a corpus; `settings` are passed to `data.batches`."""
  pieces = Pieces.of_all(documents(corpus, 'train', BYTES), length, BYTES)
  return data.batches(pieces, name=str(corpus), length=length, answers=length, **settings)
