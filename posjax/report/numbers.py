"""The numbers of a page: means with intervals, paired differences, and rankings with ties."""

import functools
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from posjax.report.read import Sweep
from posjax.sweep import table, verdict
from posjax.sweep.experiment import Claim
from posjax.sweep.table import by_length


class Interval(NamedTuple):
  """A mean and its 95 % interval; `low` and `high` are None if too few seeds are done."""

  mean: float
  low: float | None = None
  high: float | None = None

  @property
  def noise(self) -> bool:
    """Whether 0 lies in the interval."""
    return self.low is not None and self.high is not None and self.low <= 0 <= self.high


def falls(metric: str) -> bool:
  """Returns whether smaller values of a metric are better; all losses are named nats/… or bits/…"""
  return metric == 'loss' or metric.startswith(('nats/', 'bits/'))


def of_seeds(values: Sequence[float]) -> Interval:
  """Returns the mean and the interval by Student's t over seeds."""
  mean = statistics.mean(values)
  if len(values) < 2:
    return Interval(mean)
  import scipy.stats  # slow to import

  quantile = scipy.stats.t.ppf(0.975, len(values) - 1)
  half = float(quantile) * statistics.stdev(values) / math.sqrt(len(values))
  return Interval(mean, mean - half, mean + half)


class Numbers:
  """The results of a sweep for one test and metric.

  Attributes:
    lengths: all lengths; the first one is the trained length, unless the arms differ in it.
    learned: the arms that reach the threshold at the trained length; all arms if smaller values
      are better, or if the experiment's claims are about another metric.
  """

  def __init__(self, sweep: Sweep, test: str, metric: str) -> None:
    self.sweep, self.test, self.metric = sweep, test, metric
    self._records = {
      (run.arm, run.seed): by_length(result, test, metric) for run, result in sweep.done
    }
    every = {n: record for own in self._records.values() for n, record in own.items()}
    self.lengths = sorted(every)
    self.floors = {n: every[n]['floor'] for n in self.lengths}
    self.limits = {run.arm: result['limit'] for run, result in sweep.done}
    gated = (test, metric) == (*sweep.manifest['measure'],) and not falls(metric)
    self.learned = [
      arm for arm in sweep.arms
      if not gated or self.mean(arm, self.trained(arm)) >= sweep.manifest['threshold']
    ]
    self.difference = functools.cache(self._difference)
    self._pair = functools.cache(self._results)

  def trained(self, arm: str) -> int:
    """Returns the trained length of an arm."""
    return min(next(own for (name, _), own in self._records.items() if name == arm))

  def values(self, arm: str, length: int) -> list[float]:
    """Returns the value of each seed; [] beyond the arm's limit, or without a test there."""
    own = [records for (name, _), records in self._records.items() if name == arm]
    every = [records[length]['value'] for records in own if length in records]
    return every if len(every) == len(own) and None not in every else []

  def mean(self, arm: str, length: int) -> float:
    return statistics.mean(self.values(arm, length))

  def within(self, length: int) -> list[str]:
    """Returns the arms that have values at a length, the best first."""
    arms = [arm for arm in self.sweep.arms if self.values(arm, length)]
    return sorted(arms, key=lambda arm: self.mean(arm, length), reverse=not falls(self.metric))

  def _difference(self, arm: str, other: str, length: int) -> Interval | None:
    """Returns arm minus other, paired by seed and by block, with the interval of a claim.

    None: fewer seeds than a verdict needs, or results without blocks.
    """
    where = dict(test=self.test, metric=self.metric)
    claim = Claim('', lambda at: at(arm, length, **where) - at(other, length, **where), above=0)
    threshold = self.sweep.manifest['threshold']
    found = verdict.of_claim(claim, self._pair(arm, other), threshold)
    if found.value is None or found.low is None:
      return None
    return Interval(found.value, found.low, found.high)

  def _results(self, *arms: str) -> verdict.Results:
    pair = [(run, result) for run, result in self.sweep.done if run.arm in arms]
    return verdict.Results(self.sweep.experiment, pair)

  def ranking(self, length: int) -> list[list[str]]:
    """Returns groups of arms, the best first.

    A group has a best arm, and those arms whose difference to it is inside the noise; an arm is in
    the first such group. [] if there are too few seeds to tell.
    """
    groups: list[list[str]] = []
    for arm in self.within(length):
      for group in groups:
        difference = self.difference(arm, group[0], length)
        if difference is None:
          return []
        if difference.noise:
          group.append(arm)
          break
      else:
        groups.append([arm])
    return groups


def panels(sweep: Sweep) -> list[tuple[str, str]]:
  """Returns (test, metric) pairs to show: the measure of the claims first."""
  _, first = sweep.done[0]
  pairs, measure = table.shown(first), (*sweep.manifest['measure'],)
  known = {(record['test'], record['metric']) for record in first['records']}
  return [*dict.fromkeys([*([measure] if measure in known else []), *pairs])]


def positions(sweep: Sweep, arm: str, test: str, metric: str, bins: int) -> Iterator[list[float]]:
  """Yields the means by position of each run of an arm, averaged in `bins` parts of the row."""
  for _, result in sweep.of_arm(arm):
    found: dict[str, Any] = result['by_position'].get(test, {})
    values = np.array(found.get(metric, []), float)  # None becomes NaN
    parts = np.array_split(values, min(bins, len(values))) if len(values) else []
    yield [float(np.nanmean(part)) if (~np.isnan(part)).any() else math.nan for part in parts]
