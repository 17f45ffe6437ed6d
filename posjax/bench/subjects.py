"""The subjects of a command line, and their FLOPs.

This module imports neither jax nor torch: each subject imports what it needs.
"""

import argparse
import math
from collections.abc import Sequence
from typing import NamedTuple

from posjax.bench import peers
from posjax.bench.shapes import (
  CEILINGS,
  LAYER_H,
  LAYER_N,
  LAYERS,
  PROMPT,
  START_BATCH,
  STEP_TOKENS,
  D,
  F,
  H,
  N,
  V,
)

CASES = ('step', 'layer', 'decode', 'start', 'memory')
LENGTHS = {
  'step': (512, 2048), 'layer': (2048, 8192), 'decode': (256,), 'start': (512,),
  'memory': (4096, 8192, 16_384),
}
DECODE_BATCHES = (1, 16)
STEP_MEMORY_LENGTHS = (512, 2048)
WARM = 'warm compile cache'
AT_ONCE = 8  # encodings per group: each keeps about 0.6 GB, and `nope` runs in every group
AGAINST_PEERS = ('nope', 'rope', 'alibi', 't5')
LONG_LAYER, LONG_NAMES = 16_384, ('nope', 'alibi', 't5')  # an extra length with --peers
BIAS_PEERS_UP_TO = 2048  # beyond, a bias of all pairs takes gigabytes

CHAINS = ('randomize+rope', 'rope+fox', 'sinusoidal+t5')
# Not measured alone: no other part reads their positions, or they need fewer key heads.
NOT_ALONE = (
  'cape', 'coupling', 'interpolate', 'pose', 'randomize', 'rope_plus_plus', 'shift',
)


class Subject(NamedTuple):
  """One measured program, which runs in a separate process.

  Attributes:
    case: one of CASES, or 'ceiling'.
    name: an encoding or a chain as in configs, or the name of another program.
    length: tokens of a row; in 'decode', the number of generated tokens.
    batch: rows.
    module: the module of this package whose function `build` prepares the subject.
    implementation: the implementation of posjax's attention.
    dtype: the dtype of the computation.
    variant: a variant: 'swiglu', WARM; in 'memory', the planned case.
  """

  case: str
  name: str
  length: int
  batch: int
  module: str = 'ours'
  implementation: str = 'auto'
  dtype: str = 'float32'
  variant: str = ''

  @property
  def label(self) -> str:
    implementation = '' if self.implementation == 'auto' else self.implementation
    return ', '.join(filter(None, (self.name, implementation, self.variant)))

  @property
  def base(self) -> tuple[str, str, str]:
    """Returns name, implementation and variant of the subject that this one is compared with."""
    return ('plain JAX', 'auto', '') if self.case == 'start' else ('nope', self.implementation, '')

  @property
  def tokens(self) -> int:
    """The tokens of one call; 0 for cases without a token rate."""
    return self.batch * self.length if self.case in ('step', 'layer', 'decode') else 0


def flops(subject: Subject) -> int:
  """Returns the FLOPs of the model in one call; masked pairs do not count.

  2 per weight and token, 4 N H per pair and layer; the backward pass is twice that.
  """
  B, T = subject.batch, subject.length
  gated = subject.case == 'decode' or subject.variant == 'swiglu'
  weights = LAYERS * (4 * D * N * H + (3 if gated else 2) * D * F) + D * V
  if subject.case == 'ceiling':
    return 2 * math.prod(CEILINGS[subject.name])
  if subject.case == 'layer':
    return 3 * B * 4 * LAYER_N * LAYER_H * pairs(T)
  if subject.case == 'decode':
    T += PROMPT - 1  # the last token is generated but not read
  forward = B * (2 * weights * T + LAYERS * 4 * N * H * pairs(T))
  return forward if subject.case == 'decode' else 3 * forward


def pairs(T: int) -> int:
  """Returns the number of (query, key) pairs that a causal mask permits."""
  return T * (T + 1) // 2


def everything() -> list[str]:
  """Returns all encodings but NOT_ALONE, `nope` first, and CHAINS."""
  from posjax.encodings import names

  others = (name for name in names() if name not in ('nope', *NOT_ALONE))
  return ['nope', *others, *CHAINS]


def groups(options: argparse.Namespace) -> list[list[Subject]]:
  """Returns groups: lists of subjects that alternate in each round.

  Args:
    options: cases, encodings, lengths (None: a case's defaults), implementations, dtypes, peers.
  """
  made = []
  for case in options.cases:
    names = options.encodings or (['rope'] if case == 'start' else everything())
    for dtype in options.dtypes:
      if case == 'memory':
        made.append(plans(names, dtype, options))
        continue
      for length, some in by_length(case, names, options):
        for batch in batches(case, length):
          made += visited_together(case, some, length, batch, dtype, options)
  return made


def visited_together(
  case: str, names: Sequence[str], length: int, batch: int, dtype: str, options: argparse.Namespace
) -> list[list[Subject]]:
  """Returns groups of at most AT_ONCE encodings and `nope`; the first group has the peers."""
  beside = peers_of(case, names, length, batch) if options.peers and dtype == 'float32' else []
  names = sorted(names, key=lambda name: bool(beside) and name not in AGAINST_PEERS)
  made = []
  for i in range(0, len(names), AT_ONCE):
    group = ours(case, names[i : i + AT_ONCE], length, batch, dtype, options)
    made.append([*group, *beside, *ceilings(case, dtype)])
    beside = []
  return made


def by_length(
  case: str, names: Sequence[str], options: argparse.Namespace
) -> list[tuple[int, Sequence[str]]]:
  """Returns (length, names) for the groups of a case."""
  sizes = [(length, names) for length in options.lengths or LENGTHS[case]]
  few = [name for name in names if name in LONG_NAMES]
  if case == 'layer' and options.peers and few and not options.lengths:
    sizes.append((LONG_LAYER, few))
  return sizes


def batches(case: str, length: int) -> tuple[int, ...]:
  return {
    'step': (max(1, STEP_TOKENS // length),), 'layer': (1,), 'decode': DECODE_BATCHES,
    'start': (START_BATCH,),
  }[case]


def ours(
  case: str, names: Sequence[str], length: int, batch: int, dtype: str, options: argparse.Namespace
) -> list[Subject]:
  """Returns posjax's subjects, and the baselines they are compared with."""
  sizes = dict(length=length, batch=batch, dtype=dtype)
  made = []
  for implementation in options.implementations:
    first = [] if case == 'start' or 'nope' in names else ['nope']
    for name in (*first, *names):
      made.append(Subject(case, name, implementation=implementation, **sizes))
  if case == 'start':
    plain = Subject(case, 'plain JAX', module='plain', **sizes)
    made = [plain, *made]
    made += [subject._replace(variant=WARM) for subject in made]
  return made


def peers_of(case: str, names: Sequence[str], length: int, batch: int) -> list[Subject]:
  """Returns public programs with the same shapes; `rope` with swiglu matches Llama's MLP."""
  made = [
    Subject(case, name, length, batch, module='peers') for name in peers.BUILDERS[case]
    if length <= BIAS_PEERS_UP_TO or name not in peers.WITH_BIAS
  ]
  if case == 'step' and 'rope' in names:
    made.append(Subject(case, 'rope', length, batch, variant='swiglu'))
  return made


def ceilings(case: str, dtype: str) -> list[Subject]:
  """Returns products of matrices, whose rate is the ceiling for all other subjects."""
  if case == 'start':
    return []
  return [Subject('ceiling', name, 0, 0, dtype=dtype) for name in CEILINGS]


def plans(names: Sequence[str], dtype: str, options: argparse.Namespace) -> list[Subject]:
  """Returns layers and steps that are compiled but not run."""
  sizes = [('layer', length, 1) for length in options.lengths or LENGTHS['memory']]
  sizes += [('step', length, STEP_TOKENS // length) for length in STEP_MEMORY_LENGTHS]
  return [
    Subject('memory', name, length, batch, 'ours', implementation, dtype, variant)
    for implementation in options.implementations for name in names
    for variant, length, batch in sizes
  ]
