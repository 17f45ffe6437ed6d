"""Positional encodings in Transformers, implemented once and compared fairly, in JAX.

  from posjax import Bound, Positions, attend, build  # for your own model
  posjax.Rope(base=500_000.0)                         # any encoding, as a class

Names are imported on first use: `import posjax` alone imports nothing else.
"""

import importlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from posjax.attention import attend
  from posjax.config import load as load_config
  from posjax.encodings import Bound, Chain, Encoding, Positions, build

__all__ = ['Bound', 'Chain', 'Encoding', 'Positions', 'attend', 'build', 'load_config']

_PLACES = {
  'attend': 'posjax.attention.attend', 'load_config': 'posjax.config.load',
  **{name: f'posjax.encodings.{name}' for name in __all__ if name not in ('attend', 'load_config')},
}


def __getattr__(name: str) -> Any:
  if name in _PLACES:
    module, _, attribute = _PLACES[name].rpartition('.')
    return getattr(importlib.import_module(module), attribute)
  if re.fullmatch('[A-Z][A-Za-z0-9]*', name):  # RopePlusPlus is in rope_plus_plus.py
    file = re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()
    try:
      return getattr(importlib.import_module(f'posjax.encodings.{file}'), name)
    except ModuleNotFoundError:
      pass
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted(__all__)
