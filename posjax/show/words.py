"""Facts as text, for printing, for the picture and for the page."""

import inspect
import re
from typing import NamedTuple

import numpy as np

from posjax import run_summary
from posjax.encodings import Encoding, name_of
from posjax.encodings.core.chain import overrides
from posjax.encodings.core.encoding import HOOKS, TRAITS
from posjax.show import grid_words, probe
from posjax.show.facts import EXTENSION, Curves, Facts, Line
from posjax.show.grid import Grid, Shown
from posjax.show.table import aligned, evenly, figure, number

FAMILIES = {  # as in docs/shelf.md: the first of these hooks that an encoding has decides
  'init_carry': 'content',
  'embed': 'added to embeddings',
  'positions': 'moving positions',
  'position_bias': 'biases, relative keys and values',
  'key': 'rotary',
  'query': 'temperatures',
  'features': 'content',
  'score': 'biases, relative keys and values',
  'output': 'biases, relative keys and values',
}
NOTHING = 'content'  # encodings with none of these hooks
SHOWN = {  # the quantity in curves and pictures
  'bias': 'the term added to each logit, for any content',
  'mean logit': 'the logit of two equal tokens, 1 without the encoding',
  'log weight': 'the logarithm of the weight of an equal token with logit 1',
}


class Paper(NamedTuple):
  """Parts of the docstring of an encoding's module."""

  summary: str
  citation: str
  equation: str


def paper(encoding: Encoding) -> Paper:
  """Returns the `Paper` of an encoding, parsed from the docstring of its module."""
  text = inspect.getmodule(type(encoding)).__doc__.strip()
  first, *others = text.split('\n\n')
  equations = [i for i, block in enumerate(others) if block.startswith('  ')]
  before = others[: equations[0]] if equations else others
  citation = [' '.join(block.split()) for block in before if re.search(r'\b(19|20)\d\d\b', block)]
  blocks = [inspect.cleandoc('\n' + others[i]) for i in equations]
  return Paper(' '.join(first.split()), ' '.join(citation), '\n\n'.join(blocks))


def papers(facts: Facts) -> list[Paper]:
  """Returns the `Paper` of each encoding in a chain, once."""
  return [*dict.fromkeys(map(paper, probe.parts_of(facts.encoding)))]


def has(facts: Facts, hook: str) -> bool:
  """Whether an encoding overrides a hook; `features` counts only if content-dependent."""
  return any(overrides(part, hook) for part in probe.parts_of(facts.encoding)) and (
    facts.reads if hook == 'features' else True
  )


def family(facts: Facts) -> str:
  """Returns the section of the page for an encoding; a chain has that of its first part."""
  if facts.adds:
    return FAMILIES['embed']
  first = probe.parts_of(facts.encoding)[0]
  return next((words for hook, words in FAMILIES.items() if overrides(first, hook)), NOTHING)


def acts(facts: Facts) -> str:
  told = (hook.does for name, hook in HOOKS.items() if hook.does and has(facts, name))
  return ', '.join(told) or 'nothing'


def traits(encoding: Encoding) -> str:
  """Returns the text of all traits that differ from the defaults in `Encoding`."""
  found = []
  for name, trait in TRAITS.items():
    value = getattr(encoding, name)
    if value != getattr(Encoding, name):
      shown = 'any' if value is None else 'all' if value == np.inf else value
      if isinstance(value, tuple):
        shown = ', '.join(map(str, value))
      found.append(trait.shown.format(shown))
  return '; '.join(found) or 'none but the defaults'


def distances(curve: Curves) -> list[int]:
  """Returns distances for the table: 0, powers of two, and the farthest that a head sees."""
  powers = 2 ** np.arange((curve.length - 1).bit_length())
  last = [d for y in curve.by_head for d in np.flatnonzero(~np.isnan(y))[-1:]]  # may see none
  return np.unique([0, *powers[powers < curve.length], *last]).tolist()


def table(facts: Line) -> list[list[str]]:
  """Returns rows of cells with the numbers of the curves; the first row has the distances."""
  curves = {f'{facts.trained.length:,} tokens': facts.trained}
  if facts.extended:
    curves[f'{facts.extended.length:,} tokens'] = facts.extended
  if facts.unscaled:
    curves['unscaled'] = facts.unscaled.extended
  columns = sorted({d for curve in curves.values() for d in distances(curve)})
  rows = [[f'{facts.kind}, tokens back', *(f'{d:,}' for d in columns)]]
  for name, curve in curves.items():
    for label, n in facts.heads.items():
      values = [curve.by_head[n, d] if d < curve.length else np.nan for d in columns]
      rows.append([f'{name}, {label}', *map(number, values)])
  return rows


def lines(facts: Shown) -> list[tuple[str, str]]:
  """Returns [(label, text)] of all facts except the curves, the equation and the citation."""
  if isinstance(facts, Grid):
    own, tokens = [('angles', grid_words.angles(facts))], grid_words.tokens(facts)
  else:
    own = [('frequencies', frequencies(facts)), ('longer text', extension(facts))]
    tokens = 'for the last of T equal tokens'
  found = [
    ('does', acts(facts)),
    ('parameters', parameters(facts)),
    ('FLOPs', flops(facts)),
    *own,
    ('traits', traits(facts.encoding)),
    ('attention', attention(facts)),
    ('shown', shown(facts, tokens)),
  ]
  return [(label, text) for label, text in found if text]


def title(facts: Facts) -> str:
  name, window, chunk, shift = facts.layer
  label = '' if name == name_of(facts.encoding) else f'{name}: '
  seen = (f', window {window:,}' if window else '') + (f', chunks of {chunk:,}' if chunk else '')
  seen += f' from {-shift:,} on' if chunk and shift else ''
  return f'{label}{run_summary.signature(facts.encoding)}{seen}'


def parameters(facts: Facts) -> str:
  total = sum(int(np.prod(w.shape)) for w in facts.weights)
  each = [
    f'{w.name} {" x ".join(map(str, w.shape)) or 1}' + (' by layer' if w.layered else '')
    for w in facts.weights
  ]
  return f'{total:,}' + (f': {", ".join(each)}' if each else '')


def flops(facts: Facts) -> str:
  layer, once = facts.flops
  share = layer / facts.plain_flops
  return (
    f'{layer:+,.0f} per token in each layer, {share:.1%} of the {facts.plain_flops:,.0f} of '
    f'attention itself at {facts.lengths[0]:,} tokens'
    + (f'; {once:+,.0f} per token once for all layers' if once else '')
    + ' (forward, over all pairs, before XLA simplifies the program)'
  )


def frequencies(facts: Line) -> str | None:
  """Returns the line about frequencies, or None if no channel is a sinusoid of the position."""
  theta, T = facts.theta, facts.trained.length
  if not len(theta):
    return None
  wavelengths = 2 * np.pi / theta
  text = (
    f'{len(theta)}, wavelengths {figure(wavelengths.min())} to {figure(wavelengths.max())} tokens, '
    'of which '
    f'{np.sum(wavelengths <= T)} within the {T:,} tokens of training and '
    f'{np.sum(wavelengths <= EXTENSION * T)} within {EXTENSION * T:,}'
  )
  if facts.unscaled:
    before = 2 * np.pi / facts.unscaled.theta
    text += f'; unscaled {len(before)}, {figure(before.min())} to {figure(before.max())}'
  return text


def extension(facts: Line) -> str:
  T, label, n = facts.trained.length, *next(iter(facts.heads.items()))
  if not facts.extended:
    return f'not shown: {EXTENSION * T:,} tokens exceed its {facts.encoding.limit:,} positions'
  far = facts.extended
  change = 'change nothing' if facts.moved < 1e-9 else f'change up to {figure(facts.moved)}'
  last = {length: facts_at.by_head[n, length - 1] for length, facts_at in (
    (T, facts.trained), (far.length, far)
  )}
  beyond = '' if np.isnan(last[far.length]) else (
    f'; {label}: {number(last[T])} at {T - 1:,}, {number(last[far.length])} at {far.length - 1:,}'
  )
  return f'{far.length:,} tokens {change} within the {T:,} of training{beyond}'


def attention(facts: Facts) -> str:
  """Returns the permitted implementations, and the choice of 'auto'."""
  widest = facts.encoding.widest_block
  taken = '; '.join(f'{T:,} tokens: {name}, {why}' for T, (name, why) in facts.choices.items())
  blocks = f'blockwise (at most {widest} keys per block)' if widest else 'blockwise'
  fused = f'not fused, which has no {facts.unsupported_hook}' if facts.unsupported_hook else 'fused'
  return f'reference, {blocks}, {fused}. auto at {taken}'


def drawn(facts: Shown) -> str:
  """Returns what the picture is of."""
  if isinstance(facts, Grid):
    return f'{facts.kind} for the cells of a grid'
  return f'{facts.kind} by distance, and for all pairs'


def shown(facts: Facts, tokens: str) -> str:
  mean = f', mean of {facts.drawn} draws of the positions' if facts.drawn > 1 else ''
  weights = 'as initialized' if facts.values == 'initial' else 'drawn from N(0, 1)'
  return (
    f'{facts.kind}: {SHOWN[facts.kind]}, {tokens}, q = k = u with '
    f'u.u / sqrt(H) = 1, float64; weights {weights}{mean}'
  )


def text(facts: Shown) -> str:
  """Returns the printed text."""
  label = max(len(label) for label, _ in lines(facts)) + 2
  parts = [title(facts)]
  for own in papers(facts):
    parts.append('\n'.join(filter(None, (own.summary, own.citation))))
    parts.append(indented(own.equation))
  parts.append('\n'.join(f'{name:<{label}}{words}' for name, words in lines(facts)))
  return '\n\n'.join([*filter(None, parts), numbers(facts)])


def numbers(facts: Shown) -> str:
  """Returns the tables of what the picture shows."""
  if isinstance(facts, Grid):
    return grid_words.numbers(facts)
  return '\n\n'.join([aligned(table(facts)), *([wavelengths(facts)] if len(facts.theta) else [])])


def wavelengths(facts: Line, most: int = 32) -> str:
  """Returns a table of frequencies with wavelengths, also unscaled; at most `most` rows."""
  heading = ['frequency', 'radians per token', 'wavelength', f'periods in {facts.trained.length:,}']
  paired = facts.unscaled and len(facts.unscaled.theta) == len(facts.theta)
  rows = [heading + (['unscaled'] if paired else [])]
  shown = evenly(len(facts.theta), most)
  for i, theta in zip(shown, facts.theta[shown], strict=True):
    row = [
      f'{i + 1}', f'{theta:.6g}', figure(2 * np.pi / theta),
      f'{theta * facts.trained.length / (2 * np.pi):.4g}',
    ]
    rows.append(row + ([f'{facts.unscaled.theta[i]:.6g}'] if paired else []))
  return aligned(rows)


def indented(block: str) -> str:
  return '\n'.join(f'  {line}'.rstrip() for line in block.splitlines())
