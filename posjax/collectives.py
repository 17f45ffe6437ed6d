"""The collectives of a compiled program: which, how often, and the bytes that each device sends.

`of_program` reads XLA's text of the optimized program. An instruction in a loop counts once per
iteration, if XLA knows the number of iterations (`known_trip_count`). Bytes are those of the
algorithms that send least. Of n devices, with a result of R bytes, each one sends R (n - 1) / n in
an all-gather or an all-to-all, R (n - 1) in a reduce-scatter, twice R (n - 1) / n in an all-reduce,
which is a reduce-scatter and an all-gather, and R in a collective-permute.
"""

import functools
import math
import re
from typing import NamedTuple

import numpy as np

SENT = {  # kind: bytes that a device sends, from the bytes of its result and the group's size
  'all-gather': lambda result, n: result * (n - 1) / n,
  'all-reduce': lambda result, n: 2 * result * (n - 1) / n,
  'reduce-scatter': lambda result, n: result * (n - 1),
  'all-to-all': lambda result, n: result * (n - 1) / n,
  'collective-permute': lambda result, n: result,
}
COMPUTATION = re.compile(r'(ENTRY )?%([\w.-]+) \(.*\{$')
INSTRUCTION = re.compile(rf' = (.*?) ({"|".join(SENT)})(-start)?\(')
SHAPE = re.compile(r'\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]')  # pred has 8 bits
PAIRS = re.compile(r'source_target_pairs=\{(.*?)\}\}')
LISTED = re.compile(r'replica_groups=\{(\{.*?\})\}')
TILED = re.compile(r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?')
ORDER = r'(?:, device_ids=\(\[([\d,]+)\]T\(([\d,]+)\)\))?'
NAMED = re.compile(r'replica_groups=mesh\[(.*?)\]' + ORDER + r' \{(.*?)\}')
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
BRANCHES = re.compile(r'(?:branch|true|false)_computations?=\{?([^}=]+)')
CALLED = re.compile(r'(?:body|calls|to_apply)=%([\w.-]+)')


class Collective(NamedTuple):
  """One instruction of a program."""

  kind: str  # a key of SENT
  sent: float  # bytes that each device sends, each time
  groups: np.ndarray  # devices that exchange data, int [groups, n]; or pairs (source, target)
  count: int = 1  # times in one run of the program
  exact: bool = True  # False: in a loop of unknown length, counted as one iteration

  @property
  def total(self) -> float:
    return self.count * self.sent

  def across(self, domain: int) -> float:
    """Returns the bytes a device sends out of its domain, each time.

    Devices of a domain, `domain` neighboring numbers, share what their group sends to others.
    """
    homes = self.groups // domain
    if (homes == homes[:, :1]).all():
      return 0
    if self.kind == 'collective-permute':
      return self.sent
    return self.sent / max(np.unique(row, return_counts=True)[1].min() for row in homes)


def of_program(text: str, devices: int) -> list[Collective]:
  """Returns the collectives in the text of an optimized program for a number of devices.

  Of the branches of a conditional, the one that sends most counts. Collectives that send nothing,
  as in groups of one device, are left out.
  """
  bodies, entry = computations(text)

  @functools.cache
  def inside(name: str) -> list[Collective]:
    found = []
    for line in bodies[name]:
      if match := INSTRUCTION.search(line):
        found.append(collective(line, *match.groups(), devices))
      elif ' while(' in line:
        trips = TRIPS.search(line)
        times = int(trips[1]) if trips else 1
        for each in called(line):
          exact = each.exact and bool(trips)
          found.append(each._replace(count=times * each.count, exact=exact))
      elif branches := BRANCHES.findall(line):
        names = re.findall(r'%([\w.-]+)', ' '.join(branches))
        found += max(map(inside, names), key=lambda branch: sum(each.total for each in branch))
      else:
        found += called(line)
    return found

  def called(line: str) -> list[Collective]:
    return [each for name in CALLED.findall(line) for each in inside(name)]

  return [each for each in inside(entry) if each.total]


def computations(text: str) -> tuple[dict[str, list[str]], str]:
  """Returns ({name: its instructions}, the name of the entry) of a program's text."""
  bodies, entry, lines = {}, '', []
  for line in text.splitlines():
    if line.startswith(' '):
      lines.append(line)
    elif match := COMPUTATION.match(line):
      lines = bodies[match[2]] = []
      entry = match[2] if match[1] else entry
  return bodies, entry


def collective(line: str, shapes: str, kind: str, start: str | None, devices: int) -> Collective:
  """Returns the collective of an instruction whose result has `shapes`, once.

  The result of an asynchronous start also holds the operand, and flags of a collective-permute.
  """
  sizes = [
    math.prod(map(int, re.findall(r'\d+', dims))) * (int(bits) if bits else 8) / 8
    for bits, dims in SHAPE.findall(shapes)
  ]
  if kind == 'collective-permute':
    pairs = numbers(PAIRS.search(line)[1]).reshape(-1, 2)
    moves = pairs[pairs[:, 0] != pairs[:, 1]]
    return Collective(kind, sum(sizes[:1] if start else sizes) * bool(len(moves)), moves)
  groups = replica_groups(line, devices)
  n = groups.shape[1]
  operand = start and kind == 'all-gather'  # one part in n of the result
  return Collective(kind, SENT[kind](sum(sizes) * (n / (n + 1) if operand else 1), n), groups)


def replica_groups(line: str, devices: int) -> np.ndarray:
  """Returns the groups of devices in an instruction, int [groups, n], from any of XLA's forms."""

  def iota(dims, order):  # 0, 1, 2, ... in the shape `dims`, transposed to `order`
    ids = np.arange(math.prod(dims)).reshape(dims)
    return ids.transpose(numbers(order)) if order else ids

  if match := TILED.search(line):
    return iota(numbers(match[2]), match[3]).reshape(numbers(match[1]))
  if match := NAMED.search(line):
    names, shape = zip(*re.findall(r"'(\w+)'=(\d+)", match[1]), strict=True)
    shape = [*map(int, shape)]
    own = [names.index(name) for name in re.findall(r"'(\w+)'", match[4])]
    ids = iota(numbers(match[2]) if match[2] else shape, match[3]).reshape(shape)
    n = math.prod(shape[axis] for axis in own)
    return np.moveaxis(ids, own, range(-len(own), 0)).reshape(-1, n)
  if match := LISTED.search(line):
    return np.stack([numbers(group) for group in re.findall(r'\{(.*?)\}', match[1])])
  return np.arange(devices)[None]  # {}: all devices


def numbers(text: str) -> np.ndarray:
  return np.array(re.findall(r'\d+', text), int)
