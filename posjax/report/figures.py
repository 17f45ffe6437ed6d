"""The figures of a page: a measure by length, and by position at the longest length.

A figure is drawn once. The page replaces its colors by variables, which depend on light and dark.
"""

import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from posjax.plotting import printable
from posjax.report.numbers import Numbers, positions
from posjax.runtime import files
from posjax.sweep import figure as sweep_figure

# {name: (light, dark)}. Any two of the series differ for color-blind readers, too, and each has
# enough contrast for text.
COLORS: Mapping[str, tuple[str, str]] = {
  'ink': ('#1f2933', '#e4e7eb'), 'faint': ('#5b6773', '#9aa5b1'), 'line': ('#d9dee4', '#323a43'),
  'paper': ('#ffffff', '#15191e'), 's0': ('#2a62d8', '#5a9bff'), 's1': ('#e02a00', '#ff6a3d'),
  's2': ('#00775b', '#2fe0a0'), 's3': ('#d0109f', '#ff9cf0'), 's4': ('#5c3300', '#f7ef9a'),
  's5': ('#0e1c48', '#8896a3'),
}
LIGHT = {name: light for name, (light, _) in COLORS.items()}
SERIES = [LIGHT[f's{i}'] for i in range(6)]
DASHES = '-', (0, (5, 1.5)), (0, (1.5, 1.2))
BINS = 48  # points of a curve by position
SIZE = 5.2, 4.1  # inches
STYLE: Any = {
  'font.size': 10, 'axes.edgecolor': LIGHT['faint'], 'axes.labelcolor': LIGHT['ink'],
  'text.color': LIGHT['ink'], 'xtick.color': LIGHT['faint'], 'ytick.color': LIGHT['faint'],
  'axes.spines.top': False, 'axes.spines.right': False, 'axes.titlesize': 10,
  'axes.titlelocation': 'left', 'text.parse_math': False, 'axes.formatter.useoffset': False,
  'grid.color': LIGHT['line'], 'figure.facecolor': LIGHT['paper'], 'axes.facecolor': 'none',
  'svg.fonttype': 'none', 'pdf.fonttype': 42,
}


class Drawing(NamedTuple):
  """A figure in a file, and as part of a page."""

  path: Path  # of the SVG file; the PDF file is next to it
  title: str
  inline: str


class Look(NamedTuple):
  """The color, the dashes and the marker of an arm, the same in all figures of a page."""

  color: str
  dashes: Any
  marker: str


def looks(arms: Iterable[str]) -> dict[str, Look]:
  """Returns a different `Look` for each of the first 18 arms."""
  return {
    arm: Look(SERIES[i % 6], DASHES[i // 6 % 3], 'os^'[i // 6 % 3])
    for i, arm in enumerate(dict.fromkeys(arms))
  }


def by_length(numbers: Numbers, look: Mapping[str, Look], path: Path) -> Drawing:
  """Draws the mean of each arm by length; a band from the lowest to the highest seed."""
  with matplotlib.rc_context({**STYLE, 'svg.hashsalt': path.name}):
    figure = Figure(figsize=SIZE, layout='constrained')
    axes, colors = figure.subplots(), {}
    ends: dict[str, tuple[float, float]] = {}
    for arm in numbers.sweep.arms:
      found = [(n, values) for n in numbers.lengths if (values := numbers.values(arm, n))]
      xs, means = [n for n, _ in found], [sum(values) / len(values) for _, values in found]
      curve(axes, look[arm], xs, means, [values for _, values in found], marked=True)
      inside = '' if len(xs) == 1 else f' ({means[0]:.2f})'
      label = f'{arm} {means[-1]:.2f}{inside}'
      ends[label], colors[label] = (xs[-1], means[-1]), look[arm].color
    guess = [(n, floor) for n, floor in numbers.floors.items() if floor is not None]
    if guess:
      axes.plot(*zip(*guess, strict=True), color=LIGHT['faint'], linewidth=1, linestyle=':')
      ends[f'a guess {guess[-1][1]:.2f}'] = guess[-1]
      colors[f'a guess {guess[-1][1]:.2f}'] = LIGHT['faint']
    axes.set_xscale('log', base=2)
    axes.set_xticks(numbers.lengths, [f'{n:,}' for n in numbers.lengths])
    axes.xaxis.set_minor_locator(NullLocator())
    unit = numbers.sweep.done[0][1]['unit']
    axes.set_xlabel(f'length, {unit}s; in brackets: at the trained length')
    title = f'{numbers.metric} by length; {numbers.test}'
    return finish(figure, axes, title, ends, colors, path)


def by_position(numbers: Numbers, look: Mapping[str, Look], path: Path) -> Drawing:
  """Draws the mean of each arm by position in rows of the longest length."""
  with matplotlib.rc_context({**STYLE, 'svg.hashsalt': path.name}):
    figure = Figure(figsize=SIZE, layout='constrained')
    axes, ends, colors = figure.subplots(), {}, {}
    for arm in numbers.sweep.arms:
      runs = [*positions(numbers.sweep, arm, numbers.test, numbers.metric, BINS)]
      seeds_by_x = np.array(runs).T
      length = max(n for n in numbers.lengths if numbers.values(arm, n))
      xs = (np.arange(len(seeds_by_x)) + 0.5) * length / len(seeds_by_x)
      known = ~np.isnan(seeds_by_x).any(axis=1)
      xs, seeds_by_x = xs[known], seeds_by_x[known]
      curve(axes, look[arm], xs, seeds_by_x.mean(axis=1), seeds_by_x, marked=False)
      ends[arm], colors[arm] = (xs[-1], seeds_by_x[-1].mean()), look[arm].color
    trained, unit = numbers.lengths[0], numbers.sweep.done[0][1]['unit']
    axes.axvline(trained, color=LIGHT['faint'], linewidth=1, linestyle=':')
    axes.annotate(
      f' trained length, {trained:,}', (trained, 1), xycoords=('data', 'axes fraction'), va='top',
      color=LIGHT['faint'], size=8,
    )
    axes.set_xlabel(f'position in rows of {numbers.lengths[-1]:,} {unit}s')
    title = f'{numbers.metric} by position; {numbers.test}'
    return finish(figure, axes, title, ends, colors, path)


def has_positions(numbers: Numbers) -> bool:
  """Returns whether the metric has values by position in every run."""
  return all(
    result['by_position'].get(numbers.test, {}).get(numbers.metric)
    for _, result in numbers.sweep.done
  )


def curve(
  axes: Any, look: Look, xs: Sequence[float], means: Sequence[float],
  seeds: Sequence[Sequence[float]], *, marked: bool,
) -> None:
  """Draws a line and a band over seeds, [points, seeds]."""
  marker = look.marker if marked else ''
  axes.plot(xs, means, color=look.color, linestyle=look.dashes, linewidth=1.4, marker=marker,
            markersize=3.5)
  axes.fill_between(
    xs, [min(each) for each in seeds], [max(each) for each in seeds], color=look.color, alpha=0.13,
    linewidth=0,
  )


def finish(
  figure: Figure, axes: Any, title: str, ends: dict[str, tuple[float, float]],
  colors: dict[str, str], path: Path,
) -> Drawing:
  """Labels the lines, and writes the SVG and the PDF file, equal bytes for equal numbers."""
  axes.set_title(printable(title))
  axes.grid(linewidth=0.6)
  sweep_figure.label(figure, axes, ends, colors)
  svg = io.StringIO()
  figure.savefig(svg, format='svg', metadata={'Date': None, 'Creator': None})
  files.replace(path, svg.getvalue())
  figure.savefig(path.with_suffix('.pdf'), metadata={'CreationDate': None, 'Creator': None})
  return Drawing(path, title, inline(svg.getvalue(), path.stem, title))


def inline(svg: str, name: str, title: str) -> str:
  """Returns an SVG for a page: variables instead of colors, and ids that no other figure has."""
  body = svg[svg.index('<svg') :]
  box = body.partition('viewBox="')[2].partition('"')[0]
  content = body[body.index('>') + 1 :]
  content = re.sub(r'<(metadata|style)\b.*?</\1>', '', content, flags=re.DOTALL)
  used = {*re.findall(r'#(\w+)[")]', content)}
  keep = lambda found: f' id="{name}-{found[1]}"' if found[1] in used else ''
  content = re.sub(r' id="([^"]+)"', keep, content)
  content = re.sub(r'(href="|url\()#(\w+)', rf'\1#{name}-\2', content)
  for variable, (light, _) in COLORS.items():
    content = content.replace(light, f'var(--{variable})')
  content = re.sub(r'font-family: [^;"]*', 'font-family: system-ui, sans-serif', content)
  return f'<svg viewBox="{box}" role="img" aria-label="{html.escape(title)}">{content}'
