"""A chain: several encodings as one, the hooks of its parts one after the other.

  Chain((Randomize(places=2048), Rope()))        'randomize+rope' in a config

All parts see the positions that the last `positions` hook leaves. What a part keeps with tokens, in
a carry or in the state is its own; its weights are the subtree of its name.
"""

import bisect
import functools
import itertools

from posjax.encodings.core.declarations import least
from posjax.encodings.core.encoding import HOOKS, TRAITS, Encoding
from posjax.encodings.core.tokens import State
from posjax.errors import UserError


def name_of(encoding):
  """The name of an encoding's file, 'rope'; of a chain its parts' names, 'randomize+rope'."""
  if isinstance(encoding, Chain):
    return '+'.join(map(name_of, encoding.parts))
  return type(encoding).__module__.rpartition('.')[2]


def parts_of(encoding):
  """The encodings that a chain is made of; of any other, it alone."""
  return encoding.parts if isinstance(encoding, Chain) else (encoding,)


class Chain(Encoding):
  parts: tuple[Encoding, ...] = ()

  # Traits that are more than a function of those of the parts; the others follow from them.

  @property
  def tile(self):
    """That of the first part which has one of its own."""
    return next((part.tile for part in self.parts if part.tile != Encoding.tile), Encoding.tile)

  @property
  def limit(self):
    """The most tokens of which no part is given a position beyond its own limit."""
    tokens = range(1, (least(part.limit for part in self.parts) or 0) + 1)
    too_many = lambda n: bool(self._beyond(n - 1, train=False))
    return bisect.bisect(tokens, False, key=too_many) if tokens else None

  @property
  def axes(self):
    """What the parts that read positions read."""
    return next((part.axes for part in self.parts if part.axes), None)

  @property
  def reach(self):
    """Embeddings are made one of the other; features all read the last of them."""
    embedding = [part for part in self.parts if overrides(part, 'embed')]
    others = [part.reach for part in self.parts if part not in embedding]
    return sum(part.reach for part in embedding) + max(others, default=0)

  @property
  def inert(self):
    return tuple(f'{name_of(part)}/{weight}' for part in self.parts for weight in part.inert)

  @property
  def normalizer(self):
    return 'none' if any(part.normalizer == 'none' for part in self.parts) else 'softmax'

  def farthest(self, last, train):
    return functools.reduce(lambda last, part: part.farthest(last, train), self.parts, last)

  def _before(self, i):
    """The movers of the positions that a part sees: to one that moves none, all of them."""
    parts = self.parts[:i] if overrides(self.parts[i], 'positions') else self.parts
    return [part for part in parts if overrides(part, 'positions')]

  def _beyond(self, last, train):
    """What to say if a part does not represent a position that those up to `last` become, or ''."""
    for i, part in enumerate(self.parts):
      movers = self._before(i)
      far = functools.reduce(lambda last, mover: mover.farthest(last, train), movers, last)
      if movers and part.limit and far >= part.limit:
        return (f'{"+".join(map(name_of, movers))} places tokens up to {far + 1}, and '
                f'{name_of(part)} represents {part.limit} positions')
    return ''

  def check(self, dims):
    names = [*map(name_of, self.parts)]
    if len(names) < 2 or len(set(names)) < len(names):
      raise ValueError(f'a chain needs two encodings at least, each once; it is {"+".join(names)}')
    self._check_positions()
    self._check_heads()
    self._check_scores()

  def _check_positions(self):
    axes = {part.axes: name_of(part) for part in self.parts if part.axes}
    if len(axes) > 1:
      (m, one), (n, other), *_ = axes.items()
      raise ValueError(f'{one} reads {counted(m)}, and {other} {n}')
    for i, part in enumerate(self.parts):
      between = [mover for mover in self._before(i) if mover.fractions]
      if between and part.whole_positions:
        raise ValueError(f'{name_of(between[0])} places tokens between whole positions, and '
                         f'{name_of(part)} has nothing there')
    if beyond := self._beyond(0, train=False) or self._beyond(0, train=True):
      raise ValueError(beyond)

  def _check_heads(self):
    given_heads = [name for name, hook in HOOKS.items() if hook.heads]
    for part, other in itertools.permutations(self.parts, 2):
      if part.head_width_factor > 1 and any(overrides(other, hook) for hook in given_heads):
        raise ValueError(f'{name_of(part)} widens the heads of queries and keys: it goes with posi'
                         f'tions that are added, moved or a bias, not with {name_of(other)}')
      if part.own_score and part.rotates == other.rotates == 'queries and keys':
        raise ValueError(f'{name_of(part)} rotates queries and keys for its own score: next to it '
                         f'{name_of(other)} would rotate them once more')
      if part.rotates == 'values' and (overrides(other, 'output') or overrides(other, 'finish')):
        raise ValueError(f'{name_of(part)} rotates values, and what {name_of(other)} adds to '
                         'outputs would not be rotated')

  def _check_scores(self):
    hooks = 'score', 'position_bias'
    scoring = [part for part in self.parts if any(overrides(part, hook) for hook in hooks)]
    for part in scoring[1:]:
      if part.own_score:
        raise ValueError(f'{name_of(part)} makes its own score: it must come before '
                         f'{name_of(scoring[0])}, whose score would be lost')
    for part, after in zip(scoring, scoring[1:], strict=False):
      if part.normalizer != 'softmax':
        raise ValueError(f'{name_of(part)} turns scores into weights: it must come after '
                         f'{name_of(after)}')

  def with_dims(self, dims):
    self.check(dims)
    return self.clone(dims=dims, parts=tuple(part.with_dims(dims) for part in self.parts))

  def setup(self):
    # Under their own names: as elements of `parts` Linen would call them parts_0 and so on.
    self.named = tuple(part.clone(parent=self, name=name_of(part)) for part in self.parts)

  def weights(self):
    weights = {name_of(part): part.weights() for part in self.named}
    return {name: each for name, each in weights.items() if each}

  def init_state(self, batch, capacity, train, rng):
    if train and (beyond := self._beyond(capacity - 1, train)):
      raise UserError(f'{name_of(self)}, trained with {capacity} tokens: {beyond}')
    states = [part.init_state(batch, capacity, train, rng) for part in self.parts]
    return State(tuple(s.sequence for s in states), tuple(s.layer for s in states))

  def positions(self, at, state):
    new = []
    for part, own in zip(self.named, state, strict=True):
      pos, own = part.positions(at, own)
      at = at.replace(pos=pos)
      new.append(own)
    return at.pos, tuple(new)

  def position_features(self, at, dtype):
    return tuple(part.position_features(at, dtype) for part in self.named)

  def embed(self, x_BTD, at, state):
    new = []
    for part, own in zip(self.named, state, strict=True):
      x_BTD, own = part.embed(x_BTD, at, own)
      new.append(own)
    return x_BTD, tuple(new)

  def features(self, x_BTD, at, state):
    pairs = [part.features(x_BTD, at, own) for part, own in zip(self.named, state, strict=True)]
    features, state = zip(*pairs, strict=True)
    return features, state

  def query(self, q):
    return self._tokens('query', q)

  def key(self, k):
    return self._tokens('key', k)

  def key_block(self, k):
    return self._tokens('key_block', k)

  def _tokens(self, hook, tokens):
    none = [()] * len(self.parts)
    features, made = list(tokens.features or none), tokens.position_features or none
    for i, part in enumerate(self.named):
      tokens = tokens.replace(features=features[i], position_features=made[i])
      tokens = getattr(part, hook)(tokens)
      features[i] = tokens.features
    return tokens.replace(features=tuple(features), position_features=())

  def position_bias(self, q, k):
    return tuple(
      part.position_bias(end_of_part(q, i), end_of_part(k, i)) for i, part in enumerate(self.named)
    )

  def distance_table(self, distance_R):
    return tuple(part.distance_table(distance_R) for part in self.named)

  def block_bias(self, q, k, r, nearest):
    r = r or [None] * len(self.parts)
    return tuple(
      part.block_bias(end_of_part(q, i), end_of_part(k, i), r[i], nearest)
      for i, part in enumerate(self.named)
    )

  def init_carry(self, q):
    return tuple(part.init_carry(end_of_part(q, i)) for i, part in enumerate(self.named))

  def score(self, s_BNTS, pair, carry):
    carry = list(carry)
    for i, part in enumerate(self.named):
      s_BNTS, carry[i] = part.score(s_BNTS, pair_of_part(pair, i), carry[i])
    return s_BNTS, tuple(carry)

  def output(self, o_BTNH, p_BNTS, pair):
    for i, part in enumerate(self.named):
      o_BTNH = part.output(o_BTNH, p_BNTS, pair_of_part(pair, i))
    return o_BTNH

  def finish(self, o_BTNH, q, carry):
    for i, part in enumerate(self.named):
      o_BTNH = part.finish(o_BTNH, end_of_part(q, i), carry[i])
    return o_BTNH


def _of_parts(name, trait):
  return property(lambda self: trait.chain([getattr(part, name) for part in self.parts]))


for _name, _trait in TRAITS.items():
  if _trait.chain:
    setattr(Chain, _name, _of_parts(_name, _trait))


def counted(axes):
  return f'{axes} position {"axis" if axes == 1 else "axes"}'


def overrides(encoding, hook):
  """Whether the encoding has a hook of its own, and one that does something."""
  own = getattr(type(encoding), hook) is not getattr(Encoding, hook)
  return own and hook not in encoding.idle


def end_of_part(tokens, i):
  return tokens.replace(features=tokens.features[i])


def pair_of_part(pair, i):
  bias = pair.bias[i] if pair.bias else None
  return pair.replace(q=end_of_part(pair.q, i), k=end_of_part(pair.k, i), bias=bias)
