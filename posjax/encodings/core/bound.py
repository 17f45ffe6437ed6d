"""An encoding with its weights: a pytree, which passes through every transformation of JAX."""

from typing import Any

import flax
import jax

from posjax.encodings.core.encoding import HOOKS, Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions, on_all_axes, on_axis


@flax.struct.dataclass
class Bound:
  """An encoding with its weights; the hooks are called as those of the encoding itself."""

  module: Encoding = flax.struct.field(pytree_node=False)
  weights: Any = flax.struct.field(default_factory=dict)
  derived: Any = flax.struct.field(default_factory=dict)

  def prepared(self) -> 'Bound':
    """Returns the encoding with the result of `derive`, as attention needs it."""
    return self.replace(derived=self.derive())

  def locate(self, at: Positions, state: Any, dtype: jax.typing.DTypeLike) -> tuple[Positions, Any]:
    """The positions that the encoding uses, with their features; and the state of the sequence."""
    pos, state = self.positions(at, state)
    there = at.replace(pos=pos, consecutive=at.consecutive and pos is at.pos)
    return there.replace(position_features=self.position_features(there, dtype)), state


def _forwarded(name):
  def call(self, *args, **named):
    own = [on_axis(arg, self.module.axis) for arg in args]
    weights = {'params': self.weights, 'derived': self.derived}
    result = self.module.apply(weights, *own, method=name, **named)
    if name == 'positions':
      pos, state = result
      return on_all_axes(args[0].pos, pos, self.module.axis), state
    # The tokens that `query`, `key` and `key_block` return keep all axes of their argument.
    return result.replace(pos=args[0].pos) if isinstance(result, AttentionInput) else result

  call.__name__, call.__doc__ = name, getattr(Encoding, name).__doc__
  return call


for _name in (*(name for name, hook in HOOKS.items() if hook.weights), 'block_bias'):
  setattr(Bound, _name, _forwarded(_name))
