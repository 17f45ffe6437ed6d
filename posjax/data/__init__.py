"""Text to batches, in a straight line.

sources.load('tfds:…', 'text:…', 'jsonl:…', …) -> Corpus: documents, their size and their hash
  -> tokenizer: bytes and BOS
  -> pipeline.batches: shuffled, cut, packed rows for training, resumable to the bit
  -> pipeline.excerpts: text of many documents of a split, for evaluation

TFDS, array_record, pyarrow and Grain are imported by the functions that need them, not by this
package.
"""

from posjax.data.corpus import Corpus
from posjax.data.pipeline import batches, excerpts, fingerprint
from posjax.data.sources import load
from posjax.data.tokenizer import BOS, VOCABULARY, decode, encode

__all__ = [
  'BOS',
  'VOCABULARY',
  'Corpus',
  'batches',
  'decode',
  'encode',
  'excerpts',
  'fingerprint',
  'load',
]
