"""Declarations of traits and hooks, each of which is written once, in encoding.py.

A trait is what an encoding tells the rest of the program; a hook is what it does. Chains, bound
encodings, fused attention, pages and the tables in docs/encodings.md follow from these.
"""

import typing
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Trait(NamedTuple):
  """What a class variable of `Encoding` means.

  Attributes:
    says: its meaning, for the table in docs/encodings.md.
    shown: words for an encoding that has another value than `Encoding`; {} is the value.
    chain: the trait of a chain, of the values of its parts; None: `Chain` says, or it has none.
  """

  says: str
  shown: str
  chain: Callable[[list], Any] | None = None


def least(values: Iterable) -> Any:
  """Returns the least of those that are not None, or None."""
  return min((value for value in values if value is not None), default=None)


def joined(values: Iterable[str]) -> str:
  """Returns all that say something, one after the other."""
  return '; '.join(filter(None, values))


def traits_of(kind: type) -> dict[str, Trait]:
  """Returns the traits that a class declares, by name."""
  hints = {name: typing.get_args(hint) for name, hint in vars(kind)['__annotations__'].items()}
  found = {name: getattr(args[0], '__metadata__', ()) for name, args in hints.items() if args}
  return {name: metadata[0] for name, metadata in found.items() if metadata}


class Hook(NamedTuple):
  """How a method of `Encoding` is called.

  Attributes:
    per: once for each 'sequence'; 'token', in every layer; 'key block'; 'pair' of blocks;
      'distance'; 'query block'; or 'query', in the end.
    does: what an encoding does that has it, for pages; '' where another hook says it.
    heads: whether it is given the heads of queries or keys.
    weights: whether it may read weights.
  """

  per: str
  does: str = ''
  heads: bool = False
  weights: bool = True


def hook(per: str, does: str = '', **others: bool) -> Callable[[Callable], Callable]:
  """Returns a decorator that declares a method a hook, see `Hook`."""

  def declare(method: Callable) -> Callable:
    vars(method)['hook'] = Hook(per, does, **others)
    return method

  return declare


def hooks_of(kind: type) -> dict[str, Hook]:
  """Returns the hooks that a class declares, by name, in the order in which they run."""
  return {name: value.hook for name, value in vars(kind).items() if hasattr(value, 'hook')}
