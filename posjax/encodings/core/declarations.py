"""Declarations of traits and hooks; each is declared once, in encoding.py.

A trait is a fact that an encoding tells the rest of the program; a hook is a step of its work.
Chains, bound encodings, fused attention, pages and tables of docs/encodings.md follow from them.
"""

import math
import operator
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple


class Trait(NamedTuple):
  """The meaning of a class variable of `Encoding`.

  Attributes:
    says: the meaning, for the table in docs/encodings.md.
    shown: words for an encoding whose value is not the default; {} is the value.
    chain: maps the values of the parts to that of a chain; None: `Chain` defines its own, or keeps
      the default.
  """

  says: str
  shown: str
  chain: Callable[[list], Any] | None = None


# What an encoder can tell from an encoding, the least first, and in words what it cannot tell.
ENCODER_ORDERS = {
  'nothing': 'does not tell the order of tokens',
  'distance': 'does not tell left from right',
  'order and side': '',
}


def most_order(values: Iterable[str]) -> str:
  """Returns the value that comes last in ENCODER_ORDERS."""
  return max(values, key=[*ENCODER_ORDERS].index)


def least(values: Iterable) -> Any:
  """Returns the smallest value that is not None; None if there is none."""
  return min((value for value in values if value is not None), default=None)


Limit = int | tuple[float, ...] | None  # of positions on all axes, or on each; None: any number


def narrowest(limits: Iterable[Limit]) -> Limit:
  """Returns the smallest of several limits, on each axis if one of them is given for each."""
  known = [limit for limit in limits if limit is not None]
  axes = max((len(limit) for limit in known if isinstance(limit, tuple)), default=0)
  if not axes:
    return min(known, default=None)
  return tuple(map(min, zip(*(each(limit, axes) for limit in known), strict=True)))


def represents(limit: Limit, extent: Sequence[int]) -> bool:
  """Returns whether `extent` positions on each axis are within a limit."""
  return limit is None or all(map(operator.le, extent, each(limit, len(extent))))


def by_axis(positions: Limit | Sequence[int]) -> str:
  """Returns positions on each axis as text, '8 x 16'; equal ones as one number."""
  several = positions if isinstance(positions, Sequence) else (positions,)
  shown = ['any' if n == math.inf else str(n) for n in several]
  return ' x '.join(shown if len(set(several)) > 1 else shown[:1])


def each(limit: int | tuple[float, ...], axes: int) -> tuple[float, ...]:
  return limit if isinstance(limit, tuple) else (limit,) * axes


def joined(values: Iterable[str]) -> str:
  """Returns the non-empty strings, joined by semicolons."""
  return '; '.join(filter(None, values))


def traits_of(kind: type) -> dict[str, Trait]:
  """Returns the traits that a class declares, by name."""
  hints = {name: typing.get_args(hint) for name, hint in vars(kind)['__annotations__'].items()}
  found = {name: getattr(args[0], '__metadata__', ()) for name, args in hints.items() if args}
  return {name: metadata[0] for name, metadata in found.items() if metadata}


class Hook(NamedTuple):
  """How a method of `Encoding` is called.

  Attributes:
    per: it runs once for each 'sequence'; 'token', in every layer; 'key block'; 'pair' of blocks;
      'distance'; 'query block'; or 'query', at the end.
    does: words on pages for an encoding that has the hook; '' if another hook has the words.
    heads: whether it receives the heads of queries or keys.
    weights: whether it may read weights.
    chain: calls the hook of a chain's parts, see combinators.py; None: `Chain` has a method.
  """

  per: str
  does: str = ''
  heads: bool = False
  weights: bool = True
  chain: Callable | None = None


def hook(per: str, does: str = '', **others: Any) -> Callable[[Callable], Callable]:
  """Returns a decorator that declares a method to be a hook, see `Hook`."""

  def declare(method: Callable) -> Callable:
    vars(method)['hook'] = Hook(per, does, **others)
    return method

  return declare


def hooks_of(kind: type) -> dict[str, Hook]:
  """Returns the hooks that a class declares, by name, in the order in which they run."""
  return {name: value.hook for name, value in vars(kind).items() if hasattr(value, 'hook')}
