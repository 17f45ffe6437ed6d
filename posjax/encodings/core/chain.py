"""A chain: several encodings as one; each hook calls the hook of the parts in order.

  Chain((Randomize(places=2048), Rope()))        'randomize+rope' in a config
  Chain((Alibi(axis=0), Alibi(axis=1)))          'alibi@0+alibi@1', each on one axis of a grid

All parts see the positions after the last `positions` hook. Each part has its own features, carry
and state; its weights are the subtree under its name.
"""

import bisect
import functools
import itertools
import math
from typing import Any, Self

import jax

from posjax.dims import Dims
from posjax.encodings.core.combinators import side_by_side
from posjax.encodings.core.declarations import Limit, least, narrowest
from posjax.encodings.core.encoding import HOOKS, TRAITS, Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions, State, on_all_axes, on_axis
from posjax.errors import UserError


def name_of(encoding: Encoding) -> str:
  """Returns the name of an encoding's file, 'rope', or those of a chain, 'randomize+rope'."""
  if isinstance(encoding, Chain):
    return '+'.join(map(name_of, encoding.parts))
  name = type(encoding).__module__.rpartition('.')[2]
  return name if encoding.axis is None else f'{name}@{encoding.axis}'


def parts_of(encoding: Encoding) -> tuple[Encoding, ...]:
  """Returns the parts of a chain; for any other encoding, itself alone."""
  return encoding.parts if isinstance(encoding, Chain) else (encoding,)


class Chain(Encoding):
  parts: tuple[Encoding, ...] = ()

  # Traits that depend on more than the same trait of the parts; the other ones are added below.

  @property
  def tile(self) -> tuple[float, float]:
    """The tile of the first part that declares one."""
    return next((part.tile for part in self.parts if part.tile != Encoding.tile), Encoding.tile)

  @property
  def limit(self) -> Limit:
    """The most tokens for which no part receives a position beyond its own limit."""
    narrow = narrowest(part.limits for part in self.parts)
    if isinstance(narrow, tuple):  # of a grid, whose positions no encoding moves
      return narrow
    tokens = range(1, (narrow or 0) + 1)
    too_many = lambda n: bool(self._beyond(n - 1, train=False))
    return bisect.bisect(tokens, False, key=too_many) if tokens else None

  @property
  def axes(self) -> float | None:
    """The axes of the parts that read positions; a part that reads all of them fits any number."""
    return least(math.inf if part.axis is not None else part.axes for part in self.parts)

  @property
  def reach(self) -> float:
    """Each `embed` reads the embedding before it; all `features` read the last embedding."""
    embedding = [part for part in self.parts if overrides(part, 'embed')]
    others = [part.reach for part in self.parts if part not in embedding]
    return sum(part.reach for part in embedding) + max(others, default=0)

  @property
  def inert(self) -> tuple[str, ...]:
    return tuple(f'{name_of(part)}/{weight}' for part in self.parts for weight in part.inert)

  @property
  def normalizer(self) -> str:
    return 'none' if any(part.normalizer == 'none' for part in self.parts) else 'softmax'

  def farthest(self, last: int, train: bool) -> int:
    return functools.reduce(lambda last, part: part.farthest(last, train), self.parts, last)

  def _before(self, i):
    """Returns the parts that move positions before part i reads them.

    A part that moves no positions reads them after all movers.
    """
    parts = self.parts[:i] if overrides(self.parts[i], 'positions') else self.parts
    return [part for part in parts if overrides(part, 'positions')]

  def _beyond(self, last, train):
    """Returns the error if positions 0 to `last` are moved beyond a part's limit, or ''."""
    for i, part in enumerate(self.parts):
      movers = self._before(i)
      far = functools.reduce(lambda last, mover: mover.farthest(last, train), movers, last)
      if movers and part.limit and far >= part.limit:
        return (f'{"+".join(map(name_of, movers))} needs {far + 1} positions; '
                f'{name_of(part)} represents {part.limit}')
    return ''

  def check(self, dims: Dims) -> None:
    names = [*map(name_of, self.parts)]
    if len(names) < 2 or len(set(names)) < len(names):
      raise ValueError(f'a chain needs two or more encodings, each once; it is {"+".join(names)}')
    self._check_positions()
    self._check_heads()
    self._check_scores()

  def _check_positions(self):
    axes = {
      part.axes: name_of(part) for part in self.parts
      if part.axis is None and part.axes not in (None, math.inf)
    }
    if len(axes) > 1:
      (m, one), (n, other), *_ = axes.items()
      raise ValueError(f'{one} reads {counted(m)}, and {other} {n}')
    for i, part in enumerate(self.parts):
      between = [mover for mover in self._before(i) if mover.fractions]
      if between and part.whole_positions:
        raise ValueError(f'{name_of(between[0])} moves tokens to fractions of positions; '
                         f'{name_of(part)} represents whole positions only')
    if beyond := self._beyond(0, train=False) or self._beyond(0, train=True):
      raise ValueError(beyond)

  def _check_heads(self):
    given_heads = [name for name, hook in HOOKS.items() if hook.heads]
    for part, other in itertools.permutations(self.parts, 2):
      if part.head_width_factor > 1 and any(overrides(other, hook) for hook in given_heads):
        raise ValueError(f'{name_of(part)} widens the heads of queries and keys: it goes with '
                         f'encodings of embeddings, positions or biases, not with {name_of(other)}')
      if part.own_score and part.rotates == other.rotates == 'queries and keys':
        raise ValueError(f'{name_of(part)} rotates queries and keys for its own logits: '
                         f'{name_of(other)} would rotate them a second time')
      if part.rotates == 'values' and (overrides(other, 'output') or overrides(other, 'finish')):
        raise ValueError(f'{name_of(part)} rotates values, but the term that {name_of(other)} '
                         'adds to outputs would not be rotated')

  def _check_scores(self):
    hooks = 'score', 'position_bias'
    scoring = [part for part in self.parts if any(overrides(part, hook) for hook in hooks)]
    for part in scoring[1:]:
      if part.own_score:
        raise ValueError(f'{name_of(part)} computes its own logits: it must come before '
                         f'{name_of(scoring[0])}, whose term would be lost')
    for part, after in zip(scoring, scoring[1:], strict=False):
      if part.normalizer != 'softmax':
        raise ValueError(f'{name_of(part)} turns logits into attention weights: it must come '
                         f'after {name_of(after)}')

  def with_dims(self, dims: Dims) -> Self:
    self.check(dims)
    return self.clone(dims=dims, parts=tuple(part.with_dims(dims) for part in self.parts))

  def setup(self) -> None:
    # Linen would name the elements of `parts` parts_0, parts_1, …
    self.named = tuple(part.clone(parent=self, name=name_of(part)) for part in self.parts)

  def weights(self) -> Any:
    weights = {name_of(part): part.weights() for part in self.named}
    return {name: each for name, each in weights.items() if each}

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    if train and (beyond := self._beyond(capacity - 1, train)):
      raise UserError(f'{name_of(self)}, trained with {capacity} tokens: {beyond}')
    states = [part.init_state(batch, capacity, train, rng) for part in self.parts]
    return State(tuple(s.sequence for s in states), tuple(s.layer for s in states))

  def derive(self) -> dict[str, Any]:
    return {name_of(part): part.derive() for part in self.named}

  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    new = []
    for part, own in zip(self.named, state, strict=True):
      pos, own = part.positions(on_axis(at, part.axis), own)
      at = at.replace(pos=on_all_axes(at.pos, pos, part.axis))
      new.append(own)
    return at.pos, tuple(new)

  def block_bias(
    self, q: AttentionInput, k: AttentionInput, r: Any, nearest: jax.Array | int
  ) -> Any:
    return side_by_side(self.named, 'block_bias', q, k, r, nearest)


def _trait_of_parts(name, trait):
  return property(lambda self: trait.chain([getattr(part, name) for part in self.parts]))


def _hook_of_parts(name, combine):
  return lambda self, *args: combine(self.named, name, *args)


for _name, _trait in TRAITS.items():
  if _trait.chain:
    setattr(Chain, _name, _trait_of_parts(_name, _trait))

for _name, _hook in HOOKS.items():
  if _hook.chain:
    setattr(Chain, _name, _hook_of_parts(_name, _hook.chain))


def counted(axes: int) -> str:
  return f'{axes} position {"axis" if axes == 1 else "axes"}'


def overrides(encoding: Encoding, hook: str) -> bool:
  """Returns whether the encoding overrides a hook, and the hook is not idle."""
  own = getattr(type(encoding), hook) is not getattr(Encoding, hook)
  return own and hook not in encoding.idle
