"""Encodings, one per file: the encoding 'rope' is in rope.py and is found by its file name."""

from posjax.encodings.core.bound import Bound
from posjax.encodings.core.chain import Chain, name_of, parts_of
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.registry import (
  arguments,
  build,
  check_sections,
  find,
  names,
  sections_of,
  unlabelled,
)
from posjax.encodings.core.tokens import AttentionInput, Pair, Positions, State

__all__ = [
  'AttentionInput', 'Bound', 'Chain', 'Encoding', 'Pair', 'Positions', 'State', 'arguments',
  'build', 'check_sections', 'find', 'name_of', 'names', 'parts_of', 'sections_of', 'unlabelled',
]
