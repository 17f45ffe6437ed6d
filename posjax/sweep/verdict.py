"""Verdicts: what the results of an experiment say about each of its claims.

The value of a claim is an interquartile mean over seeds (for fewer than four seeds, the mean) of
means over the test. Its 95 % interval reaches as far as the wider one of two: a bootstrap over
seeds and over blocks of the test, drawn together for all arms and lengths, and Student's t over the
values of single seeds, since a bootstrap of three seeds is too narrow. The draws of the bootstrap
are stretched by t(B - 1) / z * sqrt(B / (B - 1)) for B blocks, 1.12: it is too narrow for few
blocks, too.

  reproduced      the interval satisfies the inequality
  direction only  it does not, but excludes no effect on the claimed side
  contradicted    the interval excludes the claim
  inconclusive    anything else, or an arm has not learned the task within the trained length
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from posjax import config as config_lib
from posjax import metrics
from posjax.evaluate import BLOCKS
from posjax.sweep.experiment import Claim, Exact, Experiment
from posjax.sweep.runs import Run
from posjax.sweep.table import by_length

RESAMPLES = 9999
FEWEST = 3  # seeds for a verdict
OUTCOMES = 'reproduced', 'direction only', 'contradicted', 'inconclusive'
Done = Sequence[tuple[Run, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What is known about one claim.

  Attributes:
    claim: its text.
    criterion: the inequality, as text.
    outcome: one of OUTCOMES.
    value, low, high: the value and its interval; None if it could not be computed.
    p: probability of such a value, or a more extreme one, at the bound of the inequality.
    p_holm: the same, corrected for the number of claims (Holm 1979).
    seeds: the value of each seed.
    reason: why there is no verdict; or ''.
    paper: the paper's own figure.
  """

  claim: str
  criterion: str
  outcome: str
  value: float | None = None
  low: float | None = None
  high: float | None = None
  p: float | None = None
  p_holm: float | None = None
  seeds: tuple[float, ...] = ()
  reason: str = ''
  paper: str = ''


class Results:
  """The values of finished runs, block by block."""

  def __init__(self, experiment: Experiment, done: Done) -> None:
    self.measure = experiment.measure
    self._done = {(run.arm, run.seed): with_training(run, result) for run, result in done}
    self.arms = [*dict.fromkeys(run.arm for run, _ in done)]
    every = [{run.seed for run, _ in done if run.arm == arm} for arm in self.arms]
    self.seeds = sorted(set.intersection(*every)) if every else []

  def trained(self, test: str, metric: str) -> int:
    """Returns the trained length."""
    return min(by_length(next(iter(self._done.values())), test, metric))

  def blocks(self, arm: str, length: int, test: str, metric: str) -> np.ndarray:
    """Returns values and weights of the blocks, [2, seeds, blocks].

    Raises:
      LookupError: there is no such result, with the reason.
    """
    if arm not in self.arms:
      raise LookupError(f'{arm} has no finished run')
    try:
      found = [self._done[arm, seed]['blocks'] for seed in self.seeds]
      return np.moveaxis([own[test][str(length)][metric] for own in found], -1, 0)
    except KeyError as error:
      raise LookupError(f'{arm} has no {metric} at {length}, test {test}') from error


def with_training(run: Run, result: dict[str, Any]) -> dict[str, Any]:
  """Returns a result with the mean training loss as a test of one block, at the trained length."""
  if not (run.folder / metrics.METRICS).exists():  # an n-gram model has no steps
    return result
  own = {'loss': [[metrics.mean_loss(run.folder), 1.0]]}
  blocks = result.get('blocks', {}) | {'training': {str(run.config.train.length): own}}
  return result | {'blocks': blocks}


class At:
  """at(arm, length): the mean of an arm, for each of R draws of seeds and blocks, [R]."""

  def __init__(self, results: Results, seeds_RS: np.ndarray, blocks_RB: np.ndarray) -> None:
    self._results, self._seeds_RS, self._blocks_RB = results, seeds_RS, blocks_RB
    self._counted: dict[int, np.ndarray] = {}

  def __call__(self, arm: str, length: int, *, test: str = '', metric: str = '') -> np.ndarray:
    import scipy.stats  # slow to import

    default_test, default_metric = self._results.measure
    values_SB, weights_SB = self._results.blocks(
      arm, length, test or default_test, metric or default_metric
    )
    counts_RB = self._counts(values_SB.shape[1])
    sums_RS = counts_RB @ (values_SB * weights_SB).T
    means_RS = sums_RS / (counts_RB @ weights_SB.T)
    return scipy.stats.trim_mean(np.take_along_axis(means_RS, self._seeds_RS, 1), 0.25, axis=1)

  def _counts(self, blocks: int) -> np.ndarray:
    """Returns how often each block was drawn; a test with few rows has fewer than BLOCKS."""
    if blocks not in self._counted:
      drawn_RB = self._blocks_RB[:, :blocks] % blocks
      counts = [(drawn_RB == i).sum(axis=1) for i in range(blocks)]
      self._counted[blocks] = np.stack(counts, axis=1).astype(float)
    return self._counted[blocks]


def judge(experiment: Experiment, done: Done) -> list[Verdict]:
  """Returns the verdict on each claim of an experiment from its finished runs."""
  results = Results(experiment, done)
  verdicts = []
  for claim in experiment.claims:
    if isinstance(claim, Exact):
      with config_lib.blame_file(experiment.path):
        verdicts.append(of_number(claim))
    else:
      verdicts.append(of_claim(claim, results, experiment.threshold))
  return corrected(verdicts)


@functools.cache  # the verdicts are made again after each run
def of_number(claim: Exact) -> Verdict:
  """Returns the verdict on a claim about a number."""
  jax.config.update('jax_platforms', 'cpu')  # the other devices are for the runs
  value = float(claim.value())
  if not math.isfinite(value):
    return Verdict(
      claim.text, criterion(claim), OUTCOMES[2], reason=f'the value is {value}', paper=claim.paper
    )
  holds = value > claim.above if claim.above is not None else value < claim.below
  outcome = OUTCOMES[0] if holds else OUTCOMES[2]
  return Verdict(claim.text, criterion(claim), outcome, value, value, value, paper=claim.paper)


def of_claim(claim: Claim, results: Results, threshold: float) -> Verdict:
  """Returns the verdict on a claim about results."""
  unknown = functools.partial(
    Verdict, claim.text, criterion(claim), OUTCOMES[3], paper=claim.paper
  )
  if len(results.seeds) < FEWEST:
    return unknown(reason=f'{len(results.seeds)} seeds of all arms are done, {FEWEST} are needed')
  every = np.arange(BLOCKS)[None]
  at = At(results, np.arange(len(results.seeds))[None], every)
  try:
    value = float(claim.value(at)[0])
    if not math.isfinite(value):
      return unknown(reason=f'the value is {value}')
    for arm in claim.learned:
      reached = at(arm, results.trained(*results.measure))[0]
      if reached < threshold:
        where = f'{reached:.2f} < {threshold} at the trained length'
        return unknown(value=value, reason=f'{arm} has not learned the task: {where}')
    seeds = [
      float(claim.value(At(results, np.array([[i]]), every))[0]) for i in range(len(results.seeds))
    ]
    low, high, p = interval(claim, results, value, seeds)
  except LookupError as error:
    return unknown(reason=error.args[0])
  return Verdict(
    claim.text, criterion(claim), outcome(claim, low, high), value, low, high, p,
    seeds=tuple(seeds), paper=claim.paper,
  )


def interval(
  claim: Claim, results: Results, value: float, seeds: Sequence[float]
) -> tuple[float, float, float]:
  """Returns both ends of the interval and the one-sided p at the claim's bound."""
  import scipy.stats  # slow to import

  statistic = lambda s, b, axis: claim.value(At(results, np.atleast_2d(s), np.atleast_2d(b)))
  indices = np.arange(len(seeds)), np.arange(BLOCKS)
  drawn = scipy.stats.bootstrap(
    indices, statistic, n_resamples=RESAMPLES, method='percentile', rng=0, batch=RESAMPLES
  )
  stretch = scipy.stats.t.ppf(0.975, BLOCKS - 1) / scipy.stats.norm.ppf(0.975)
  stretch *= math.sqrt(BLOCKS / (BLOCKS - 1))
  draws = value + stretch * (drawn.bootstrap_distribution - value)
  low, high = np.quantile(draws, (0.025, 0.975))
  sign, bound = (1, claim.above) if claim.above is not None else (-1, claim.below)
  below = np.sum(sign * (draws - bound) <= 0)
  p = (1 + below) / (1 + RESAMPLES)
  mean, error = np.mean(seeds), np.std(seeds, ddof=1) / math.sqrt(len(seeds))
  if error:
    half = scipy.stats.t.ppf(0.975, len(seeds) - 1) * error
    low, high = min(low, mean - half), max(high, mean + half)
    p = max(p, scipy.stats.t.sf(sign * (mean - bound) / error, len(seeds) - 1))
  return float(low), float(high), float(p)


def outcome(claim: Claim, low: float, high: float) -> str:
  """Returns the outcome for an interval."""
  sign, bound = (1, claim.above) if claim.above is not None else (-1, claim.below)
  low, high = sorted((sign * low, sign * high))
  effect = claim.null is not None and low > sign * claim.null
  if low > sign * bound:
    return 'reproduced'
  if effect:
    return 'direction only'
  return 'contradicted' if high < sign * bound else 'inconclusive'


def criterion(claim: Claim | Exact) -> str:
  return f'> {claim.above:g}' if claim.above is not None else f'< {claim.below:g}'


def corrected(verdicts: Iterable[Verdict]) -> list[Verdict]:
  """Returns verdicts with p_holm, the step-down correction over all of them that have a p."""
  verdicts = list(verdicts)
  order = sorted((v.p, i) for i, v in enumerate(verdicts) if v.p is not None)
  highest = 0.0
  for rank, (p, i) in enumerate(order):
    highest = max(highest, min(1.0, p * (len(order) - rank)))
    verdicts[i] = dataclasses.replace(verdicts[i], p_holm=highest)
  return verdicts


def overall(outcomes: Iterable[str]) -> str:
  """Returns the outcome of a paper: the weakest of its claims."""
  found = set(outcomes)
  for each in ('contradicted', 'inconclusive', 'direction only', 'reproduced'):
    if each in found:
      return each
  return 'inconclusive'
