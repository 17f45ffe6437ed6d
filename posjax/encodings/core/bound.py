"""An encoding with its weights: a pytree, which passes through every transformation of JAX."""

from typing import Any

import flax
import jax

from posjax.encodings.core.encoding import HOOKS, Encoding
from posjax.encodings.core.tokens import Positions


@flax.struct.dataclass
class Bound:
  """An encoding with its weights; the hooks are called as those of the encoding itself."""

  module: Encoding = flax.struct.field(pytree_node=False)
  weights: Any = flax.struct.field(default_factory=dict)

  def locate(self, at: Positions, state: Any, dtype: jax.typing.DTypeLike) -> tuple[Positions, Any]:
    """The positions that the encoding uses, with their features; and the state of the sequence."""
    pos, state = self.positions(at, state)
    there = at.replace(pos=pos, consecutive=at.consecutive and pos is at.pos)
    return there.replace(position_features=self.position_features(there, dtype)), state


def _forwarded(name):
  def call(self, *args, **named):
    return self.module.apply({'params': self.weights}, *args, method=name, **named)

  call.__name__, call.__doc__ = name, getattr(Encoding, name).__doc__
  return call


for _name in (*(name for name, hook in HOOKS.items() if hook.weights), 'block_bias'):
  setattr(Bound, _name, _forwarded(_name))
