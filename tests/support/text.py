"""Text as a run takes it."""

from posjax import data
from posjax.tasks.text import Pieces


def batches(corpus, *, length, **settings):
  """The training batches of a corpus; `settings` are those of `data.batches`."""
  pieces = Pieces.of_all(corpus.documents('train'), length)
  return data.batches(pieces, name=str(corpus), length=length, answers=length, **settings)
