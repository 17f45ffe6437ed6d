"""Text and examples to batches, in a straight line.

sources.load('tfds:…', 'text:…', 'jsonl:…', …) -> Corpus: documents, their size and their hash
  -> tokenizer: bytes and BOS
  -> excerpts: text of many documents of a split, and windows, for evaluation
examples of a task
  -> pipeline.batches: shuffled, packed rows for training, resumable to the bit

TFDS, array_record, pyarrow and Grain are imported by the functions that need them, not by this
package.
"""

from posjax.data.corpus import Corpus
from posjax.data.excerpts import excerpts, piece
from posjax.data.pipeline import batches, fingerprint
from posjax.data.sources import load
from posjax.data.tokenizer import ALL, BOS, EOS, MASK, PAD, SEP, TEXT, decode, encode

__all__ = [
  'ALL', 'BOS', 'EOS', 'MASK', 'PAD', 'SEP', 'TEXT', 'Corpus', 'batches', 'decode', 'encode',
  'excerpts', 'fingerprint', 'load', 'piece',
]
