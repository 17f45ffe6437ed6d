"""The cost of an experiment before it runs: model FLOPs, and hours on accelerators on paper."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from posjax import plan, run_summary, state
from posjax.runtime import devices
from posjax.sweep import runs as runs_lib
from posjax.sweep.experiment import Experiment, Tier
from posjax.sweep.runs import Run

SHOWN = 'v5e', 'v6e', 'h100', 'b200'


def table(experiment: Experiment, tier: Tier, folder: Path) -> list[str]:
  """Returns lines: for each arm its runs, with those that try rates; tokens, FLOPs, device hours.

  FLOPs are those of `plan`, for training only; arms of THEN are not counted. Hours are of one
  device at a usual share of its peak in the dtype of the config; '-' if no peak is published.
  """
  one = dataclasses.replace(tier, seeds=tier.seeds[:1])
  tuned = runs_lib.tuned(experiment.arms)
  lines = [
    f'one device at {plan.REACHED:.0%} of its peak, training only',
    f'{"arm":<20}{"weights":>14}{"runs":>6}{"tokens":>10}{"FLOPs":>10}'
    + ''.join(f'{f"h {name}":>10}' for name in SHOWN),
  ]
  total = [0.0] * (2 + len(SHOWN))
  trained = [run for run in runs_lib.plan(experiment, one, folder) if run.program == 'posjax.main']
  for run in trained:
    count = len(tier.seeds) + len(tier.rates) * (run.arm in tuned)
    weights, *numbers = of_run(run, count)
    total = [a + b for a, b in zip(total, numbers, strict=True)]
    lines.append(f'{run.arm:<20}{weights:>14,}{count:>6}{line(numbers)}')
  return [*lines, f'{"all":<40}{line(total)}']


def of_run(run: Run, count: int) -> tuple[float, ...]:
  """Returns weights of the model; and tokens, FLOPs and hours on each device of `count` runs."""
  config, setup = run.config, state.setup(run.config)
  params = setup.shapes.params
  steps = config.train.steps * count
  flops = steps * plan.flops_per_step(config, setup.model, params)
  hours = []
  for name in SHOWN:
    peak = devices.find(name).flops.get(config.model.dtype, float('nan'))
    hours.append(flops / (plan.REACHED * peak) / 3600)
  tokens = steps * config.train.batch * config.train.length
  return run_summary.count(params), tokens, flops, *hours


def line(numbers: Sequence[float]) -> str:
  return ''.join(f'{"-" if number != number else f"{number:.2g}":>10}' for number in numbers)
