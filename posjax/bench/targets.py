"""Target ratios; `python -m posjax.bench` prints each ratio with its target.

Targets hold for float32, one core (`--pin`), and the shapes and lengths of subjects.py. Ratios are
of times or of XLA's planned bytes: less is better. With faster=True they are of tokens per second:
more is better.
"""

from typing import NamedTuple

from posjax.bench.subjects import AGAINST_PEERS, LENGTHS, LONG_LAYER, Subject

EMBEDDED, ROTARY, LINEAR = ('sinusoidal', 'learned'), ('rope', 'xpos'), ('alibi',)
BIAS = ('t5', 'kerple', 'fire')
HEAVY = ('shaw', 'transformer_xl', 'dape')
SEQUENTIAL = ('cope', 'path', 'stick_breaking')
MODELS = ('torch nanoGPT', 'HF GPT-2', 'HF T5 decoder', 'HF Bloom', 'x-transformers rope')


class Target(NamedTuple):
  """Bounds of a ratio: it must reach `least` and should reach `aim`; None: only reported.

  The ratio is over the fastest subject of `over` that ran. `lengths` (): the default lengths of the
  case. `batches` (): any batch.
  """

  case: str
  names: tuple[str, ...]
  over: tuple[str, ...]
  least: float | None
  aim: float | None
  lengths: tuple[int, ...] = ()
  batches: tuple[int, ...] = ()
  variant: str = ''
  faster: bool = False


def over_nope(case: str, names: tuple[str, ...], least: float | None, aim: float | None) -> Target:
  return Target(case, names, ('nope',), least, aim)


TARGETS = (
  over_nope('step', EMBEDDED + ROTARY + LINEAR, 1.08, 1.03),
  over_nope('step', BIAS, 1.15, 1.06),
  over_nope('step', ('fox',), 1.15, 1.05),
  over_nope('step', HEAVY, 1.5, 1.25),
  over_nope('step', SEQUENTIAL, None, 1.5),
  over_nope('layer', EMBEDDED + ROTARY + LINEAR, 1.15, 1.05),
  over_nope('layer', ('t5', 'kerple'), 1.35, 1.10),
  over_nope('layer', ('fire',), 1.30, 1.10),
  over_nope('layer', ('fox',), 1.25, 1.10),
  over_nope('layer', ('shaw',), 1.6, 1.4),
  over_nope('layer', ('transformer_xl',), 1.9, 1.4),
  over_nope('layer', ('dape',), 2.2, 1.4),
  over_nope('layer', SEQUENTIAL, None, 2.0),
  over_nope('decode', EMBEDDED + ROTARY + LINEAR + BIAS + ('fox',), 1.10, 1.03),
  over_nope('decode', ('shaw', 'transformer_xl'), 1.5, 1.2),
  Target('step', AGAINST_PEERS, MODELS, 0.62, 0.55, lengths=(512,)),
  Target('step', ('rope', 'alibi', 't5'), ('HF GPT-2',), 0.60, 0.50, lengths=(2048,)),
  Target('step', ('rope',), ('HF Llama (swiglu)',), None, None, variant='swiglu'),
  Target('layer', ('nope', 'alibi'), ('torch SDPA',), 1.0, 0.6, lengths=(8192, 16_384)),
  Target('layer', ('t5',), ('torch SDPA',), 1.2, 0.7, lengths=(8192, 16_384)),
  Target('decode', ('rope',), ('HF Llama',), 3.2, 5.0, batches=(1,), faster=True),
  Target('decode', ('rope',), ('HF Llama',), 2.5, 3.0, batches=(16,), faster=True),
  Target('start', ('rope',), ('plain JAX',), 0.95, 0.6),
  Target('start', ('rope',), ('plain JAX',), 0.6, 0.45, variant='warm compile cache'),
)

# Planned memory of an attention layer, forward and backward: its exponent over the length, and, for
# the aim, the GiB at 16,384 tokens. Of a step: rows of 2,048 tokens over rows of 512.
EXPONENT = (1.1, 1.0)
LAYER_GIB = 0.25
STEP_MEMORY = (1.1, 1.0)


def find(subject: Subject) -> list[Target]:
  """Returns the targets of a subject; other lengths and dtypes have none."""
  return [
    t for t in TARGETS
    if (t.case, t.variant) == (subject.case, subject.variant) and subject.name in t.names
    and subject.dtype == 'float32'
    and subject.length in (t.lengths or (*LENGTHS[t.case], LONG_LAYER))
    and subject.batch in (t.batches or (subject.batch,))
  ]


def verdict(value: float, least: float | None, aim: float | None, *, faster: bool = False) -> str:
  """Returns 'aim met', 'met', 'missed' or 'reported', for the value rounded to two decimals."""
  value, sign = round(value, 2), -1 if faster else 1
  reaches = lambda bound: bound is not None and sign * value <= sign * bound
  if reaches(aim):
    return 'aim met'
  if least is None:
    return 'reported'
  return 'met' if reaches(least) else 'missed'
