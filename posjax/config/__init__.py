"""A run's config: found, loaded, changed by a command line, named and printed."""

from posjax.config.comments import CONFIGS, ROOT, nearby
from posjax.config.describe import describe
from posjax.config.files import available, base, blame_file, find, from_record
from posjax.config.keys import changes, difference, flatten, to_dict
from posjax.config.overrides import load, override

__all__ = [
  'CONFIGS', 'ROOT', 'available', 'base', 'blame_file', 'changes', 'describe', 'difference',
  'find', 'flatten', 'from_record', 'load', 'nearby', 'override', 'to_dict',
]
