"""The figure of a sweep: the mean of each arm by length, a panel for each test and metric."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from posjax.plotting import printable, spread_labels
from posjax.sweep.runs import Run
from posjax.sweep.table import by_length, shown


def draw(done: Sequence[tuple[Run, dict[str, Any]]], title: str, path: Path) -> None:
  """Draws [(run, result)] of `table.finished`; a band shows the minimum and maximum over seeds."""
  from matplotlib import colormaps
  from matplotlib.figure import Figure  # slow to import

  _, first = done[0]
  panels = shown(first)
  arms = list(dict.fromkeys(run.arm for run, _ in done))
  size = 7 * len(panels), max(4.5, 0.2 * len(arms) + 1.5)
  figure = Figure(figsize=size, layout='constrained')
  shades = colormaps['turbo']([(i + 0.5) / len(arms) for i in range(len(arms))])[:, :3] * 0.85
  colors = dict(zip(arms, shades, strict=True))
  for axes, (test, metric) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels,
                                  strict=True):
    ends = {}
    for arm in arms:
      points = means([by_length(r, test, metric) for run, r in done if run.arm == arm])
      lengths, low, middle, high = zip(*points, strict=True)
      axes.plot(lengths, middle, marker='o', markersize=3, color=colors[arm])
      axes.fill_between(lengths, low, high, color=colors[arm], alpha=0.15, linewidth=0)
      ends[arm] = lengths[-1], middle[-1]
    axes.set_xscale('log', base=2)
    every = [record['length'] for record in by_length(first, test, metric).values()]
    axes.set_xticks(every, map(str, every))
    axes.set_xlabel(f'length, {first["unit"]}s; trained at {every[0]}')
    axes.set_ylabel(metric)
    axes.set_title(test, fontsize='medium')
    axes.grid(alpha=0.3)
    label(figure, axes, ends, colors)
  figure.suptitle(printable(title), parse_math=False)
  figure.savefig(path, dpi=120)


def means(
  results: Sequence[dict[int, dict[str, Any]]]
) -> Iterator[tuple[int, float, float, float]]:
  """Yields (length, minimum, mean, maximum) for the lengths within the limit of every run."""
  for length in results[0]:
    values = [result[length]['value'] for result in results]
    if None not in values:
      yield length, min(values), statistics.mean(values), max(values)


def label(
  figure: Any, axes: Any, ends: dict[str, tuple[float, float]], colors: dict[str, Any]
) -> None:
  """Writes each arm's name at the end {arm: (x, y)} of its line; spreads names that are close."""
  figure.canvas.draw()  # sets the limits of the axes to those of the lines
  place = axes.transData + axes.transAxes.inverted()
  names = sorted(ends, key=lambda arm: ends[arm][1])
  gap = 0.9 / max(len(names), 18)
  heights = spread_labels([place.transform(ends[arm])[1] for arm in names], gap)
  for arm, height in zip(names, heights, strict=True):
    axes.annotate(
      printable(arm), ends[arm], xytext=(1.04, height), textcoords='axes fraction', va='center',
      fontsize='small', color=colors[arm], annotation_clip=False,
      arrowprops=dict(arrowstyle='-', color=colors[arm], linewidth=0.5, alpha=0.6, relpos=(0, 0.5)),
    )
