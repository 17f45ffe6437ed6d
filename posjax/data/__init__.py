"""From text and examples to batches.

sources.load('tfds:…', 'text:…', 'jsonl:…', …) -> Corpus: documents, their size and their hash
  -> tokenizer: bytes and BOS
  -> excerpts: held-out text from many documents of a split, and windows, for evaluation
sources.load_records('package:…', 'csv:…', …) -> Records: texts with labels, tags, translations, …
examples of a task
  -> pipeline.batches: shuffled, packed rows for training, with bit-exact resume

Functions that need TFDS, array_record, pyarrow or Grain import them; this package does not.
"""

from posjax.data.corpus import Corpus, Records
from posjax.data.excerpts import excerpts, piece
from posjax.data.pipeline import batches, fingerprint
from posjax.data.sources import load, load_records, record_fields
from posjax.data.tokenizer import ALL, BOS, EOS, MASK, PAD, SEP, TEXT, decode, encode

__all__ = [
  'ALL', 'BOS', 'EOS', 'MASK', 'PAD', 'SEP', 'TEXT', 'Corpus', 'Records', 'batches', 'decode',
  'encode', 'excerpts', 'fingerprint', 'load', 'load_records', 'piece', 'record_fields',
]
