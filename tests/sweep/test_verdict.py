"""Verdicts: outcomes, intervals and p by hand, and how often an interval covers the truth."""

import json
import math
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from posjax.errors import UserError
from posjax.sweep import verdict
from posjax.sweep.experiment import Claim, Exact, Experiment

STRETCH = 2.131450 / 1.959964 * math.sqrt(16 / 15)
A = lambda at: at('a', 64)
DIFFERENCE = lambda at: at('b', 64) - at('a', 64)


def experiment(*claims, **settings):
  arms = {'a': ('--config=rope',), 'b': ('--config=nope',)}
  settings = {'measure': ('t', 'm'), 'claims': claims} | settings
  return Experiment(Path('far.py'), 'abc', 'Far is hard.', arms, (10, 11, 12), **settings)


def done_of(folder='nowhere', **arms):
  """Returns finished runs; arms are {length: [seeds, blocks] or ([seeds, blocks], weights)}."""
  done = []
  for arm, lengths in arms.items():
    tables = {
      length: table if isinstance(table, tuple) else (np.asarray(table), np.ones_like(table))
      for length, table in lengths.items()
    }
    for seed in range(len(next(iter(tables.values()))[0])):
      blocks = {
        str(length): {'m': np.stack([values[seed], weights[seed]], axis=-1).tolist()}
        for length, (values, weights) in tables.items()
      }
      records = [{'test': 't', 'metric': 'm', 'length': length} for length in tables]
      config = types.SimpleNamespace(train=types.SimpleNamespace(length=64))
      run = types.SimpleNamespace(arm=arm, seed=seed, folder=Path(folder), config=config)
      done.append((run, {'blocks': {'t': blocks}, 'records': records}))
  return done


def constant(*seeds, blocks=16):
  """Returns [seeds, blocks], in which a seed has one value."""
  return np.repeat(np.array(seeds, float)[:, None], blocks, axis=1)


def judge(claim, **arms):
  [found] = verdict.judge(experiment(claim), done_of(**{a: {64: v} for a, v in arms.items()}))
  return found


@pytest.mark.parametrize('bound, low, high, outcome', [
  (0.2, 0.21, 0.5, 'reproduced'),
  (0.2, 0.2, 0.5, 'direction only'),  # the bound itself is not above the bound
  (0.2, 0.05, 0.5, 'direction only'),
  (0.2, 0.05, 0.15, 'direction only'),  # smaller than claimed, in the claimed direction
  (0.2, 0.0, 0.5, 'inconclusive'),
  (0.2, -0.1, 0.5, 'inconclusive'),
  (0.2, -0.1, 0.2, 'inconclusive'),
  (0.2, -0.1, 0.15, 'contradicted'),
  (0.2, 0.0, 0.15, 'contradicted'),
  (0.2, -0.5, -0.1, 'contradicted'),
  (0.0, 0.1, 0.2, 'reproduced'),
  (0.0, -0.1, 0.2, 'inconclusive'),
  (0.0, -0.2, -0.1, 'contradicted'),
  (-0.1, -0.05, 0.3, 'reproduced'),  # at most 0.1 worse
  (-0.1, -0.2, 0.3, 'inconclusive'),
  (-0.1, -0.3, -0.2, 'contradicted'),
])
def test_outcome_of_an_interval(bound, low, high, outcome):
  """A claim below -bound about -value has the same outcome."""
  assert verdict.outcome(Claim('', A, above=bound), low, high) == outcome
  assert verdict.outcome(Claim('', A, below=-bound), -high, -low) == outcome


def test_a_level_has_no_direction():
  level = Claim('', A, above=0.95, null=None)
  outcomes = [verdict.outcome(level, *ends) for ends in ((0.96, 1), (0.6, 0.7), (0.9, 1))]
  assert outcomes == ['reproduced', 'contradicted', 'inconclusive']
  assert verdict.outcome(Claim('', A, above=0.95, null=0.5), 0.6, 0.7) == 'direction only'


def test_few_seeds_have_the_interval_of_students_t():
  """Seeds 1, 2, 4: mean 7/3, variance 7/3, so t = sqrt(7); t(0.975, 2) = 4.302653.

  With two degrees of freedom, the probability above t is (1 - t / sqrt(t^2 + 2)) / 2.
  """
  found = judge(Claim('', A, above=0), a=constant(1, 2, 4))
  half = 4.302653 * math.sqrt(7) / 3
  assert (found.value, found.seeds) == (pytest.approx(7 / 3), (1, 2, 4))
  assert (found.low, found.high) == pytest.approx((7 / 3 - half, 7 / 3 + half), abs=1e-5)
  assert found.p == pytest.approx((1 - math.sqrt(7) / 3) / 2)
  assert found.outcome == 'inconclusive'
  below = judge(Claim('', A, below=14 / 3), a=constant(1, 2, 4))  # as far on the other side
  assert (below.low, below.high) == (found.low, found.high) and below.p == pytest.approx(found.p)


def test_equal_seeds_have_the_interval_of_the_blocks():
  """The mean of 16 draws of eight zeros and eight ones is binomial; its quantiles are exact.

  t(0.975, 15) = 2.131450 and z(0.975) = 1.959964 stretch them.
  """
  blocks = np.tile([0.0, 1.0], (3, 8))
  found = judge(Claim('', A, above=0.25), a=blocks)
  drawn = scipy.stats.binom(16, 0.5)
  assert tuple(drawn.ppf([0.025, 0.975]) / 16) == (0.25, 0.75)
  assert (found.low, found.high) == pytest.approx((0.5 - 0.25 * STRETCH, 0.5 + 0.25 * STRETCH))
  expected = drawn.cdf(4)
  assert abs(found.p - expected) < 4 * math.sqrt(expected / verdict.RESAMPLES)
  assert found.outcome == 'direction only'


def test_without_noise_the_interval_is_the_value():
  found = judge(Claim('', DIFFERENCE, below=-0.25), a=constant(1, 1, 1), b=constant(0.5, 0.5, 0.5))
  assert (found.low, found.value, found.high) == (-0.5, -0.5, -0.5)
  assert (found.outcome, found.p) == ('reproduced', 1 / (1 + verdict.RESAMPLES))
  assert found.criterion == '< -0.25'


def test_the_interval_reaches_as_far_as_the_wider_one():
  """Nearly equal seeds with noisy blocks: the bootstrap; the seeds 1, 2, 4: Student's t."""
  noisy = np.tile([0.0, 1.0], (3, 8)) + constant(1e-6, 2e-6, 4e-6)
  found = judge(Claim('', A, above=0), a=noisy)
  assert (found.low, found.high) == pytest.approx(
    (0.5 - 0.25 * STRETCH, 0.5 + 0.25 * STRETCH), abs=1e-5
  )


@pytest.mark.parametrize('seeds, value', [
  ((1, 2, 9), 4.0), ((1, 2, 4, 100), 3.0), ((-50, 1, 2, 6, 100), 3.0),
  ((-50, 1, 2, 6, 100, 100), 27.25),
])
def test_the_value_is_the_interquartile_mean(seeds, value):
  assert judge(Claim('', A, above=0), a=constant(*seeds)).value == value
  assert scipy.stats.trim_mean(seeds, 0.25) == value


def test_blocks_have_weights():
  values, weights = np.tile(np.arange(16.0), (3, 1)), np.tile(np.arange(1.0, 17.0), (3, 1))
  [found] = verdict.judge(experiment(Claim('', A, above=0)), done_of(a={64: (values, weights)}))
  assert found.value == pytest.approx(sum(i * (i + 1) for i in range(16)) / sum(range(17)))


def test_shared_noise_of_seeds_and_blocks_cancels():
  rng = np.random.default_rng(0)
  shared = rng.normal(size=(5, 1)) + rng.normal(size=(1, 16))
  found = judge(Claim('', DIFFERENCE, above=0.25), a=shared, b=shared + 0.5)
  assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5))
  alone = judge(Claim('', A, above=0.25), a=shared)
  assert alone.high - alone.low > 1


def test_lengths_share_the_draws_of_blocks():
  rng = np.random.default_rng(0)
  blocks = rng.normal(size=(3, 16))
  claim = Claim('', lambda at: at('a', 128) - at('a', 64), below=0.5)
  [found] = verdict.judge(experiment(claim), done_of(a={64: blocks, 128: blocks + 0.25}))
  assert (found.low, found.high) == pytest.approx((0.25, 0.25))


def test_a_maximum_is_a_value():
  claim = Claim('', lambda at: np.maximum(at('a', 64), at('b', 64)), below=4)
  found = judge(claim, a=constant(1, 1, 1), b=constant(3, 3, 3))
  assert (found.value, found.outcome) == (3, 'reproduced')


def test_a_test_with_few_rows_has_fewer_blocks():
  """Eight blocks have eight draws; the value is the mean of any number of blocks."""
  found = judge(Claim('', A, above=0), a=np.tile([0.0, 1.0], (3, 4)))
  low, high = scipy.stats.binom(8, 0.5).ppf([0.025, 0.975]) / 8
  assert (found.low, found.high) == pytest.approx(
    (0.5 - (0.5 - low) * STRETCH, 0.5 + (high - 0.5) * STRETCH), abs=1e-6
  )
  assert judge(Claim('', A, above=0), a=np.tile([5.0, 0, 0, 0, 0], (3, 1))).value == 1


@pytest.mark.parametrize('seed_noise, block_noise', [(1, 0), (0.3, 1), (0, 1)])
@pytest.mark.parametrize('seeds', [3, 5])
@pytest.mark.slow
def test_the_interval_covers_the_truth(seeds, seed_noise, block_noise):
  """In 300 experiments of Gaussian noise, of which a part is shared by all seeds."""
  rng = np.random.default_rng(seeds)
  covered = 0
  for _ in range(300):
    own = rng.normal(scale=seed_noise, size=(seeds, 1)) + rng.normal(size=(seeds, 16)) * 0.1
    found = judge(Claim('', A, above=0), a=own + rng.normal(scale=block_noise, size=(1, 16)))
    covered += found.low <= 0 <= found.high
  assert covered >= 0.93 * 300


def test_holm():
  """Four p of 0.01, 0.04, 0.03, 0.005: 0.005 x 4, 0.01 x 3, 0.03 x 2, then no smaller one."""
  ps = (0.01, 0.04, None, 0.03, 0.005)
  found = verdict.corrected(verdict.Verdict('', '', '', p=p) for p in ps)
  holm = [each.p_holm for each in found]
  assert holm.pop(2) is None and holm == pytest.approx([0.03, 0.06, 0.06, 0.02])
  [high] = verdict.corrected([verdict.Verdict('', '', '', p=0.9)])
  assert high.p_holm == 0.9


def test_all_claims_of_an_experiment_are_corrected():
  claims = (Claim('', A, above=0), Claim('', A, above=1), Exact('', lambda: 0.0, below=1))
  found = verdict.judge(experiment(*claims), done_of(a={64: constant(1, 2, 4)}))
  assert [each.p_holm for each in found] == [
    pytest.approx(2 * found[0].p), pytest.approx(max(2 * found[0].p, found[1].p)), None,
  ]


def test_an_arm_that_has_not_learned_has_no_verdict():
  claim = Claim('', lambda at: at('a', 128), above=0.1, learned=('a',))
  done = done_of(a={64: constant(0.9, 0.9, 0.9), 128: constant(0.5, 0.5, 0.5)})
  [found] = verdict.judge(experiment(claim), done)
  assert (found.outcome, found.value, found.low) == ('inconclusive', 0.5, None)
  assert found.reason == 'a has not learned the task: 0.90 < 0.95 at the trained length'
  [found] = verdict.judge(experiment(claim, threshold=0.9), done)
  assert (found.outcome, found.reason) == ('reproduced', '')


@pytest.mark.parametrize('value, reason', [
  (lambda at: at('b', 64), 'b has no finished run'),
  (lambda at: at('a', 96), 'a has no m at 96, test t'),
  (lambda at: at('a', 64, test='u'), 'a has no m at 64, test u'),
  (lambda at: at('a', 64, metric='n'), 'a has no n at 64, test t'),
  (lambda at: at('a', 64) * math.nan, 'the value is nan'),
])
def test_a_missing_result_is_the_reason(value, reason):
  found = judge(Claim('', value, above=0), a=constant(1, 2, 4))
  assert (found.outcome, found.reason, found.value) == ('inconclusive', reason, None)


def test_a_result_without_blocks_is_the_reason():
  """An evaluation.json of an earlier version."""
  done = [(run, {'records': []}) for run, _ in done_of(a={64: constant(1, 2, 4)})]
  [found] = verdict.judge(experiment(Claim('', A, above=0)), done)
  assert (found.outcome, found.reason) == ('inconclusive', 'a has no m at 64, test t')


def test_two_seeds_are_too_few():
  found = judge(Claim('', DIFFERENCE, above=0), a=constant(1, 1, 1), b=constant(2, 2))
  assert (found.outcome, found.value) == ('inconclusive', None)
  assert found.reason == '2 seeds of all arms are done, 3 are needed'


def test_the_training_loss_is_a_test(tmp_path):
  rows = [json.dumps({'step': step, 'loss': loss}) for step, loss in ((10, 4.0), (20, 1.0))]
  (tmp_path / 'metrics.jsonl').write_text('\n'.join(rows))
  claim = Claim('', lambda at: at('a', 64, test='training', metric='loss'), below=3)
  [found] = verdict.judge(experiment(claim), done_of(tmp_path, a={64: constant(1, 2, 4)}))
  assert (found.value, found.outcome) == (2.5, 'reproduced')


@pytest.mark.parametrize('value, bound, outcome', [
  (1e-7, dict(below=1e-6), 'reproduced'), (1e-6, dict(below=1e-6), 'contradicted'),
  (2.0, dict(above=1), 'reproduced'), (0.5, dict(above=1), 'contradicted'),
])
def test_an_exact_number(value, bound, outcome):
  """It needs no runs."""
  [found] = verdict.judge(experiment(Exact('', lambda: value, **bound)), [])
  assert (found.outcome, found.value, found.low, found.high) == (outcome, value, value, value)
  assert found.p is None


def test_a_number_that_is_none_contradicts():
  [found] = verdict.judge(experiment(Exact('', lambda: math.nan, below=1)), [])
  assert (found.outcome, found.value, found.reason) == ('contradicted', None, 'the value is nan')


def test_an_exact_number_is_computed_once():
  calls = []
  claim = Exact('', lambda: calls.append(0) or 0.0, below=1)
  assert verdict.judge(experiment(claim), []) == verdict.judge(experiment(claim), [])
  assert len(calls) == 1


def test_an_error_in_an_exact_claim_is_one_line():
  with pytest.raises(UserError, match='^far.py: ZeroDivisionError: float division by zero$'):
    verdict.judge(experiment(Exact('', lambda: 1.0 / 0, below=1)), [])


@pytest.mark.parametrize('outcomes, outcome', [
  (('reproduced',), 'reproduced'), (('reproduced', 'direction only'), 'direction only'),
  (('inconclusive', 'direction only'), 'inconclusive'),
  (('inconclusive', 'contradicted', 'reproduced'), 'contradicted'), ((), 'inconclusive'),
])
def test_a_paper_has_the_weakest_outcome_of_its_claims(outcomes, outcome):
  assert verdict.overall(outcomes) == outcome
