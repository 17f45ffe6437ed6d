"""What is measured: the subjects of a command line, and their FLOPs.

Neither jax nor torch is imported here: each subject pays for its own imports.
"""

import math
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
AT_ONCE = 8  # encodings in a group: each keeps about 0.6 GB, and `nope` is never long ago
AGAINST_PEERS = ('nope', 'rope', 'alibi', 't5')
LONG_LAYER, LONG_NAMES = 16_384, ('nope', 'alibi', 't5')  # also, where there are peers
BIAS_PEERS_UP_TO = 2048  # a bias of all pairs takes gigabytes beyond

CHAINS = ('randomize+rope', 'rope+fox', 'sinusoidal+t5')
# Alone these move positions that nothing reads, or need fewer heads of keys than of queries.
NOT_ALONE = (
  'cape', 'coupling', 'interpolate', 'pose', 'randomize', 'rope_plus_plus', 'shift',
)


class Subject(NamedTuple):
  """One thing that is measured, in a process of its own.

  Attributes:
    case: one of CASES, or 'ceiling'.
    name: an encoding or a chain as configs name it, or whatever else is measured.
    length: tokens of a row; in 'decode', how many are generated.
    batch: rows.
    module: of this package, whose function `build` makes it ready.
    implementation: of posjax's attention.
    dtype: of the computation.
    variant: what is different about it: 'swiglu', WARM; of 'memory' the case that is planned.
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
  def label(self):
    implementation = '' if self.implementation == 'auto' else self.implementation
    return ', '.join(filter(None, (self.name, implementation, self.variant)))

  @property
  def base(self):
    """Name, implementation and variant of what it is compared with in the first place."""
    return ('plain JAX', 'auto', '') if self.case == 'start' else ('nope', self.implementation, '')

  @property
  def tokens(self):
    """Of one call; 0 where there are none to speak of."""
    return self.batch * self.length if self.case in ('step', 'layer', 'decode') else 0


def flops(subject):
  """Of one call, of the model and not of the program: pairs that are masked do not count.

  2 for each weight and token, 4 N H for each pair and layer; the backward pass is twice that.
  """
  B, T = subject.batch, subject.length
  gated = subject.case == 'decode' or subject.variant == 'swiglu'
  weights = LAYERS * (4 * D * N * H + (3 if gated else 2) * D * F) + D * V
  if subject.case == 'ceiling':
    return 2 * math.prod(CEILINGS[subject.name])
  if subject.case == 'layer':
    return 3 * B * 4 * LAYER_N * LAYER_H * pairs(T)
  if subject.case == 'decode':
    T += PROMPT - 1  # the last token is not read again
  forward = B * (2 * weights * T + LAYERS * 4 * N * H * pairs(T))
  return forward if subject.case == 'decode' else 3 * forward


def pairs(T):
  """Pairs of tokens of which one sees the other, or itself."""
  return T * (T + 1) // 2


def everything():
  """The whole shelf, less what these shapes are not for; and chains."""
  from posjax.encodings import names

  others = (name for name in names() if name not in ('nope', *NOT_ALONE))
  return ['nope', *others, *CHAINS]


def groups(options):
  """Lists of subjects that are visited in turn.

  Args:
    options: cases, encodings and lengths (None: each case's own), implementations, dtypes, peers.
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


def visited_together(case, names, length, batch, dtype, options):
  """Groups of at most AT_ONCE encodings and `nope`; public programs are visited with the first."""
  beside = peers_of(case, names, length, batch) if options.peers and dtype == 'float32' else []
  names = sorted(names, key=lambda name: bool(beside) and name not in AGAINST_PEERS)
  made = []
  for i in range(0, len(names), AT_ONCE):
    group = ours(case, names[i : i + AT_ONCE], length, batch, dtype, options)
    made.append([*group, *beside, *ceilings(case, dtype)])
    beside = []
  return made


def by_length(case, names, options):
  """(length, names) of the groups of a case."""
  sizes = [(length, names) for length in options.lengths or LENGTHS[case]]
  few = [name for name in names if name in LONG_NAMES]
  if case == 'layer' and options.peers and few and not options.lengths:
    sizes.append((LONG_LAYER, few))
  return sizes


def batches(case, length):
  return {
    'step': (max(1, STEP_TOKENS // length),), 'layer': (1,), 'decode': DECODE_BATCHES,
    'start': (START_BATCH,),
  }[case]


def ours(case, names, length, batch, dtype, options):
  """posjax's subjects, and what they are compared with."""
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


def peers_of(case, names, length, batch):
  """Public programs of the same shapes; of Llama's MLP is none of ours but this one."""
  made = [
    Subject(case, name, length, batch, module='peers') for name in peers.BUILDERS[case]
    if length <= BIAS_PEERS_UP_TO or name not in peers.WITH_BIAS
  ]
  if case == 'step' and 'rope' in names:
    made.append(Subject(case, 'rope', length, batch, variant='swiglu'))
  return made


def ceilings(case, dtype):
  """Products of matrices: the rate that all others are held against."""
  if case == 'start':
    return []
  return [Subject('ceiling', name, 0, 0, dtype=dtype) for name in CEILINGS]


def plans(names, dtype, options):
  """Layers and steps that are compiled only."""
  sizes = [('layer', length, 1) for length in options.lengths or LENGTHS['memory']]
  sizes += [('step', length, STEP_TOKENS // length) for length in STEP_MEMORY_LENGTHS]
  return [
    Subject('memory', name, length, batch, 'ours', implementation, dtype, variant)
    for implementation in options.implementations for name in names
    for variant, length, batch in sizes
  ]
