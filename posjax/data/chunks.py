"""Text in chunks without BOS, for tasks that corrupt it: of training documents, and held out."""

import dataclasses

import numpy as np

from posjax.batch import Indexed
from posjax.data.corpus import Corpus, Documents
from posjax.data.excerpts import excerpts
from posjax.data.tokenized import documents
from posjax.data.tokenizer import Tokenizer
from posjax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Chunks:
  """The ids of a document in chunks of `length` tokens, int32; the last may be shorter."""

  ids: np.ndarray
  length: int

  def __len__(self) -> int:
    return -(-len(self.ids) // self.length)

  def __getitem__(self, index: int) -> np.ndarray:
    return self.ids[index * self.length : (index + 1) * self.length].astype(np.int32)


def train(corpus: Corpus, tokenizer: Tokenizer, length: int) -> Indexed[Indexed[np.ndarray]]:
  """Returns the chunks of each training document; indexing reads the document."""
  texts = documents(corpus, 'train', tokenizer)
  return Documents(range(len(texts)), lambda index: Chunks(texts[index], length))


def held_out(
  corpus: Corpus, split: str, tokenizer: Tokenizer, *, tokens: int, excerpt: int, key: str
) -> list[np.ndarray]:
  """Returns `excerpts` of a split without special tokens; short documents are joined.

  Raises:
    UserError: no excerpt has `excerpt` tokens; `key` is the config's key of `tokens`.
  """
  texts = excerpts(corpus, split, tokens=tokens, excerpt=excerpt, tokenizer=tokenizer)
  texts = [ids[ids < tokenizer.size] for ids in (text[1:] for text in texts)]
  longest = max(map(len, texts))
  if longest < excerpt:
    more = 'raise it, ' if tokens < excerpt else ''  # no help for a small corpus
    raise UserError(
      f'{key}: the {split} split gives {longest:,} tokens, but {excerpt:,} are needed; {more}lower '
      'evaluate.multiples or train.length, or use a larger corpus'
    )
  return texts


def cut(texts: list[np.ndarray], length: int) -> np.ndarray:
  """Returns all complete chunks of the texts, [rows, length]."""
  return np.concatenate([
    text[: len(text) // length * length].reshape(-1, length) for text in texts
  ])
