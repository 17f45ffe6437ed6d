"""Word vectors: skip-gram, CBOW, fastText and GloVe in JAX, and the files of public vectors.

  documents of words -> vocabulary.build -> Text: ids and counts
    -> skipgram, cbow, fasttext: batches, loss and update of negative_sampling.py
    -> glove: co-occurrence counts, loss, update
  files.read(path) -> words, vectors;   files.read_subwords(path) -> vectors of unknown words, too
"""

from posjax.word_vectors.files import has_subwords, read, read_subwords, write
from posjax.word_vectors.neighbors import cosines, nearest
from posjax.word_vectors.subwords import Subwords
from posjax.word_vectors.vocabulary import Text, build, tokens

__all__ = [
  'Subwords', 'Text', 'build', 'cosines', 'has_subwords', 'nearest', 'read', 'read_subwords',
  'tokens', 'write',
]
