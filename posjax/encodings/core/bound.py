"""An encoding with its weights: a pytree, which passes through every transformation of JAX."""

from typing import Any

import flax

from posjax.encodings.core.encoding import Encoding


@flax.struct.dataclass
class Bound:
  """An encoding with its weights; its hooks are called as the encoding's own."""

  module: Encoding = flax.struct.field(pytree_node=False)
  weights: Any = flax.struct.field(default_factory=dict)

  def _call(self, hook, *args):
    return self.module.apply({'params': self.weights}, *args, method=hook)

  def place(self, at, state, dtype):
    """Where tokens are in the encoding's eyes, with its `waves`; and the sequence's state."""
    pos, state = self.positions(at, state)
    there = at.replace(pos=pos, consecutive=at.consecutive and pos is at.pos)
    return there.replace(waves=self.waves(there, dtype)), state

  def positions(self, at, state):
    return self._call('positions', at, state)

  def waves(self, at, dtype):
    return self._call('waves', at, dtype)

  def embed(self, x_BTD, at, state):
    return self._call('embed', x_BTD, at, state)

  def features(self, x_BTD, at, state):
    return self._call('features', x_BTD, at, state)

  def query(self, q):
    return self._call('query', q)

  def key(self, k):
    return self._call('key', k)

  def key_block(self, k):
    return self._call('key_block', k)

  def position_bias(self, q, k):
    return self._call('position_bias', q, k)

  def distances(self, distance_R):
    return self._call('distances', distance_R)

  def block_bias(self, q, k, r, nearest):
    return self._call('block_bias', q, k, r, nearest)

  def init_carry(self, q):
    return self._call('init_carry', q)

  def score(self, s_BNTS, pair, carry):
    return self._call('score', s_BNTS, pair, carry)

  def output(self, o_BTNH, p_BNTS, pair):
    return self._call('output', o_BTNH, p_BNTS, pair)

  def finish(self, o_BTNH, q, carry):
    return self._call('finish', o_BTNH, q, carry)
