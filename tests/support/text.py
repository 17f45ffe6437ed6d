"""Text as a training run reads it."""

from posjax import data
from posjax.tasks.text import Pieces


def batches(corpus, *, length, **settings):
  """Returns the training batches of a corpus; `settings` are passed to `data.batches`."""
  pieces = Pieces.of_all(corpus.documents('train'), length)
  return data.batches(pieces, name=str(corpus), length=length, answers=length, **settings)
