"""How a chain calls a hook: the hook of each part, with the part's share of every argument.

A part's share of `AttentionInput` has the part's own features, of a `Pair` its own bias too, of a
tuple, such as the states or carries of all parts, one element. Other arguments go to every part.
"""

from collections.abc import Iterator
from typing import Any

import jax

from posjax.encodings.core.tokens import AttentionInput, Pair, on_axis


def share(value: Any, i: int) -> Any:
  """Returns what part i of a chain sees of an argument."""
  if isinstance(value, Pair):
    return value.replace(q=share(value.q, i), k=share(value.k, i), bias=share(value.bias, i))
  if isinstance(value, AttentionInput):
    return value.replace(features=value.features[i])
  return value[i] if isinstance(value, tuple) else value


def calls(parts: tuple, hook: str, args: tuple) -> Iterator[tuple]:
  """Yields the method `hook` of each part, and the part's share of the arguments."""
  for i, part in enumerate(parts):
    yield getattr(part, hook), [on_axis(share(arg, i), part.axis) for arg in args]


def side_by_side(parts: tuple, hook: str, *args: Any) -> tuple:
  """Returns the results of all parts."""
  return tuple(method(*own) for method, own in calls(parts, hook, args))


def side_by_side_with_state(parts: tuple, hook: str, *args: Any) -> tuple[tuple, tuple]:
  """Returns the results of all parts, and their new states."""
  results, states = zip(*side_by_side(parts, hook, *args), strict=True)
  return results, states


def in_turn(parts: tuple, hook: str, x: jax.Array, *args: Any) -> jax.Array:
  """Returns the array `x` after the first part, then the second, and so on."""
  for method, own in calls(parts, hook, args):
    x = method(x, *own)
  return x


def in_turn_with_state(
  parts: tuple, hook: str, x: jax.Array, *args: Any
) -> tuple[jax.Array, tuple]:
  """Returns the array `x` after all parts in turn, and their new states or carries."""
  states = []
  for method, own in calls(parts, hook, args):
    x, state = method(x, *own)
    states.append(state)
  return x, tuple(states)


def tokens_in_turn(parts: tuple, hook: str, tokens: AttentionInput) -> AttentionInput:
  """Returns `AttentionInput` after all parts in turn; each changes its own features only."""
  none = [()] * len(parts)
  features, position_features = list(tokens.features or none), tokens.position_features or none
  for i, part in enumerate(parts):
    own = tokens.replace(features=features[i], position_features=position_features[i])
    own = getattr(part, hook)(on_axis(own, part.axis))
    features[i], tokens = own.features, own.replace(pos=tokens.pos)
  return tokens.replace(features=tuple(features), position_features=())
