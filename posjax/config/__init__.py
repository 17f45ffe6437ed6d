"""A run's config: found, loaded, changed by a command line, named and printed."""

from posjax.config.comments import CONFIGS, ROOT, documented, nearby
from posjax.config.describe import describe
from posjax.config.files import available, base, blame_file, find, from_record
from posjax.config.keys import (
  changes,
  check_types,
  difference,
  flatten,
  mistyped,
  nearest_key,
  no_key,
  to_dict,
)
from posjax.config.overrides import load, override

__all__ = [
  'CONFIGS', 'ROOT', 'available', 'base', 'blame_file', 'changes', 'check_types', 'describe',
  'difference', 'documented', 'find', 'flatten', 'from_record', 'load', 'mistyped', 'nearby',
  'nearest_key', 'no_key', 'override', 'to_dict',
]
