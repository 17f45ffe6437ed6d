"""Text to batches, in a straight line.

sources.load('tfds:…' or 'text:…') -> Corpus: documents, their size and their hash
  -> tokenizer: bytes and BOS
  -> pipeline.batches: shuffled, cut, packed rows for training, resumable to the bit
  -> pipeline.stream: a split's tokens in order, for evaluation

TFDS, array_record and Grain are imported by the functions that need them, not by this package.
"""

from posjax.data.corpus import Corpus
from posjax.data.pipeline import batches, fingerprint, stream
from posjax.data.sources import load
from posjax.data.tokenizer import BOS, VOCABULARY, decode, encode

__all__ = [
  'BOS',
  'VOCABULARY',
  'Corpus',
  'batches',
  'decode',
  'encode',
  'fingerprint',
  'load',
  'stream',
]
