"""Plots time and planned memory of an attention layer by length, a line per subject."""

import collections
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from posjax.bench.tables import Row
from posjax.plotting import spread_labels


def lines(
  rows: Iterable[Row], clock: str
) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]] | None:
  """Returns ({label: {length: seconds}}, {label: {length: MB}}), or None without any layer."""
  seconds, sizes = collections.defaultdict(dict), collections.defaultdict(dict)
  for row in rows:
    subject = row.subject
    if 'layer' not in (subject.case, subject.variant):
      continue
    # In the case 'memory', the variant is the planned case.
    label = subject._replace(variant='').label
    if subject.dtype != 'float32':
      label = f'{label}, {subject.dtype}'
    if getattr(row, clock):
      seconds[label][subject.length] = float(np.median(getattr(row, clock)))
    if row.planned:
      sizes[label][subject.length] = row.planned / 1e6
  return (seconds, sizes) if seconds or sizes else None


def draw(
  seconds: dict[str, dict[int, float]], sizes: dict[str, dict[int, float]], path: pathlib.Path | str
) -> None:
  from matplotlib import colormaps
  from matplotlib.figure import Figure

  panels = [
    (values, title) for values, title in (
      (seconds, 'seconds, forward and backward'), (sizes, 'MB of temporaries planned by XLA')
    ) if values
  ]
  tallest = max(len(values) for values, _ in panels)
  size = 6.5 * len(panels), max(4, 0.24 * tallest + 1.5)
  figure = Figure(figsize=size, layout='constrained')
  axes = figure.subplots(1, len(panels), squeeze=False)
  names = sorted({*seconds, *sizes})
  shades = 0.85 * colormaps['turbo'](np.linspace(0.05, 0.95, len(names)))[:, :3]  # dark enough
  colors = dict(zip(names, shades, strict=True))
  for ax, (values, title) in zip(axes[0], panels, strict=True):
    panel(ax, values, colors)
    ax.set_title(title, fontsize='medium')
  figure.suptitle('Attention of one layer, batch 1, 8 heads of size 64')
  figure.savefig(path, dpi=130)


def panel(ax: Any, values: dict[str, dict[int, float]], colors: dict[str, Any]) -> None:
  """Draws lines on logarithmic axes, each with its name at its end."""
  lengths = sorted({length for line in values.values() for length in line})
  for name, line in values.items():
    ax.plot(*zip(*sorted(line.items()), strict=True), marker='o', markersize=3, color=colors[name])
  ax.set_xscale('log', base=2)
  ax.set_yscale('log')
  ax.set_xticks(lengths, [f'{length:,}' for length in lengths])
  ax.set_xlabel('tokens')
  ax.grid(alpha=0.3)
  ends = {name: max(line.items()) for name, line in values.items()}
  names = sorted(ends, key=lambda name: ends[name][1])
  ax.figure.canvas.draw()  # otherwise the axis limits would not fit the lines yet
  to_axes = lambda point: ax.transAxes.inverted().transform(ax.transData.transform(point))
  heights = spread_labels([to_axes(ends[name])[1] for name in names], 0.7 / max(len(names), 10))
  for name, height in zip(names, heights, strict=True):
    ax.annotate(
      name, ends[name], xytext=(1.06, height), textcoords='axes fraction', va='center',
      fontsize='small', color=colors[name], annotation_clip=False,
      arrowprops=dict(
        arrowstyle='-', color=colors[name], linewidth=0.5, alpha=0.6, relpos=(0, 0.5)
      ),
    )
