"""The runs of an experiment: what to run at each stage, and what a run's folder says of it."""

import dataclasses
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tqdm
from ml_collections import ConfigDict

from posjax import metrics, ngram, state, tasks
from posjax import run as run_lib
from posjax.errors import UserError, one_of
from posjax.metrics import Diverged
from posjax.sweep import table
from posjax.sweep.experiment import TUNING_SEED, Claim, Experiment, Tier, asked

# Programs that an arm can run, by module: functions that parse their command lines.
PROGRAMS = {
  'posjax.main': lambda arguments: run_lib.parse(['posjax', *arguments]),
  'posjax.ngram': ngram.parse,
}
RATE = '--config.optimizer.learning_rate='
SHORT = '--config.evaluate.multiples=1'  # a run that only tries a rate reads no test beyond it


class Run(NamedTuple):
  """One arm with one seed. Its progress is stored in its folder only."""

  arm: str
  seed: int
  program: str  # a key of PROGRAMS
  arguments: tuple[str, ...]  # for the program
  folder: Path
  config: ConfigDict
  command: str  # as a user types it
  rate: float | None = None  # the learning rate, if this run only helps to choose it

  def __str__(self) -> str:
    tried = '' if self.rate is None else f' at learning rate {self.rate:g}'
    return f'{self.arm}, seed {self.seed}{tried}'

  def result(self) -> dict[str, Any]:
    """Returns evaluation.json; {} before the run is done, even if a checkpoint was evaluated."""
    result = read(self.folder / 'evaluation.json')
    return result if result.get('step') == self.config.train.steps else {}

  def validation(self) -> float | None:
    """Returns the last validation loss; infinity if it diverged, None if the run is not done."""
    if self.note().get('exit_code') == Diverged.exit_code:
      return math.inf
    if not self.result():
      return None
    loss = metrics.last_validation(self.folder)
    return math.inf if loss is None else loss  # JSON has no infinity

  def note(self) -> dict[str, Any]:
    """Returns sweep.json, which `jobs` writes; {} before the first attempt."""
    return read(self.folder / 'sweep.json')

  def settled(self) -> bool:
    """Returns whether nothing is left to run: a rate that diverged has been tried."""
    return bool(self.result()) or self.rate is not None and self.validation() == math.inf

  def progress(self) -> str:
    """Returns loss, step and time left during training; otherwise the last line of output."""
    now, speed = (metrics.newest(self.folder / file) for file in (metrics.METRICS, metrics.SPEED))
    steps = self.config.train.steps
    if not now or not speed or now['step'] == steps:
      return f'{self}: {last_line(self.folder / "output.txt")}'
    left = tqdm.tqdm.format_interval((steps - speed['step']) * speed['seconds'] / speed['step'])
    loss = math.nan if now['loss'] is None else now['loss']
    return f'loss {loss:.3f}, step {now["step"]}/{steps}, {left} left: {self}'

  def status(self) -> str:
    if self.result():
      return 'done'
    if not self.note():
      return 'missing'
    code = self.note()['exit_code']
    return 'stopped' if code in (0, 42, 130) else f'failed {code}'


def read(path: Path) -> dict[str, Any]:
  return json.loads(path.read_text('utf-8')) if path.exists() else {}


def last_line(path: Path) -> str:
  return path.read_text(errors='replace').strip().splitlines()[-1]


def stages(
  experiment: Experiment, tier: Tier, folder: Path, wanted: Collection[str]
) -> Iterator[list[Run]]:
  """Yields the runs of each stage: learning rates to try, the arms, and the arms after them.

  A stage is planned from the results of the one before, and not at all while these are missing;
  the arms need the learning rates of `wanted` arms only.

  Raises:
    UserError: as `plan`, before the first stage; or a wanted arm diverged at every rate.
  """
  check(experiment, tier, folder)
  tries = {arm: tier.rates for arm in tuned(experiment.arms) if tier.rates}
  tried = plan(experiment, tier, folder, tries)
  if tried:
    yield tried
  if not all(run.settled() for run in tried if run.arm in wanted):
    return
  arms = plan(experiment, tier, folder, chosen=choose(tried, wanted))
  yield arms
  if experiment.then and all(run.result() for run in arms):
    yield plan(experiment, tier, folder, then=True)


def tuned(arms: Mapping[str, tuple[str, ...]]) -> list[str]:
  """Returns the arms that learn and do not fix their learning rate."""
  return [
    arm for arm, arguments in arms.items()
    if split(arguments)[0] == 'posjax.main' and not any(a.startswith(RATE) for a in arguments)
  ]


def check(experiment: Experiment, tier: Tier, folder: Path) -> None:
  """Raises UserError for a mistake in any stage, and for a claim about a length without a test."""
  # The run that an arm starts from cannot be read before it is done.
  bare = {
    arm: tuple(argument for argument in arguments if not argument.startswith('--config.init.'))
    for arm, arguments in experiment.then.items()
  }
  one = dataclasses.replace(tier, seeds=tier.seeds[:1])
  runs = plan(experiment, one, folder)
  runs += plan(dataclasses.replace(experiment, then=bare), one, folder, then=True)
  for run in runs:
    try:
      state.build(run.config)
    except UserError as error:
      raise UserError(f'{experiment.path}: arm {run.arm}: {error}') from error
  tested = {run.arm: state.test_lengths(run.config) for run in runs}
  for claim in experiment.claims if tier.judges else ():
    for arm, length in asked(claim, tested) if isinstance(claim, Claim) else ():
      if length not in tested[arm]:
        raise UserError(
          f'{experiment.path}: {claim.text}: {arm} has no test at {length}; its lengths are '
          f'{", ".join(map(str, tested[arm]))}'
        )


def choose(tried: Sequence[Run], wanted: Collection[str]) -> dict[str, float]:
  """Returns the rate with the lowest validation loss of each arm, from the settled runs.

  Raises:
    UserError: a wanted arm diverged at every rate.
  """
  best: dict[str, tuple[float, Any]] = {}
  for run in tried:
    if run.settled() and (loss := run.validation()) is not None:
      best[run.arm] = min(best.get(run.arm, (math.inf, None)), (loss, run.rate), key=lambda b: b[0])
  for arm, (loss, _) in best.items():
    if loss == math.inf and arm in wanted:
      raise UserError(f'arm {arm}: diverged at every learning rate of RATES')
  return {arm: rate for arm, (loss, rate) in best.items() if loss < math.inf}


def plan(
  experiment: Experiment, tier: Tier, folder: Path,
  tries: Mapping[str, Sequence[float]] | None = None, *,
  chosen: Mapping[str, float] | None = None, then: bool = False,
) -> list[Run]:
  """Returns the runs of a stage, arm by arm.

  Args:
    experiment: the experiment.
    tier: its size, from `Experiment.tier`.
    folder: of all runs.
    tries: learning rates to try, by arm; None: run each arm with each seed.
    chosen: the learning rates of these runs, by arm; others have the config's.
    then: plan the arms that start after the others.

  Raises:
    UserError: an arm's arguments are invalid, or two arms cannot be compared in one table.
  """
  arms = experiment.then if then else experiment.arms
  if tries is None:
    cells = [(arm, seed, (chosen or {}).get(arm), False) for arm in arms for seed in tier.seeds]
  else:
    cells = [(arm, TUNING_SEED, rate, True) for arm in tries for rate in tries[arm]]
  runs = []
  for arm, seed, rate, trial in cells:
    own_folder = folder / (f'rates/{arm}-{rate:g}' if trial else f'{arm}-{seed}')
    sources = {name: str(folder / f'{name}-{seed}') for name in experiment.arms} if then else {}
    own = [] if rate is None else [f'{RATE}{rate:g}']
    own += [SHORT] * trial
    try:
      module, arguments = split(arms[arm])
      filled = [fill(argument, sources) for argument in sized(arguments, tier.size)]
      own += [f'--workdir={own_folder}', f'--config.seed={seed}']
      whole = latest([*filled, *tier.flags, *own])
      parsed = PROGRAMS[module](whole)
    except UserError as error:
      raise UserError(f'{experiment.path}: arm {arm}: {error}') from error
    tried = rate if trial else None
    runs.append(Run(arm, seed, module, whole, own_folder, parsed.config, parsed.command, tried))
  table.check_alike([(run, shared(run.config, experiment.varies)) for run in runs])
  return runs


def sized(arguments: Sequence[str], size: str) -> list[str]:
  """Returns arguments in which each config has a size, unless it names one."""
  return [
    f'{argument}:{size}' if size and re.fullmatch(r'--config=[^:]*', argument) else argument
    for argument in arguments
  ]


def latest(arguments: Sequence[str]) -> tuple[str, ...]:
  """Returns arguments without each --KEY=VALUE that a later one of the same key overrides."""
  keys = [argument.partition('=')[0] if '=' in argument else '' for argument in arguments]
  last = {key: i for i, key in enumerate(keys)}
  return tuple(a for i, a in enumerate(arguments) if not keys[i] or last[keys[i]] == i)


def fill(argument: str, sources: Mapping[str, str]) -> str:
  """Returns an argument with {ARM} replaced by a folder."""
  return re.sub(r'\{([^{}]+)\}', lambda match: sources.get(match[1], match[0]), argument)


def shared(config: ConfigDict, varies: Sequence[str] = ()) -> dict[str, Any]:
  """Returns the flat keys and values of a config that all arms of one table have."""
  name = config.task.name
  own = {f'task.{name}.{argument}' for argument in tasks.find(name).may_differ}
  found = table.select(config, ('data', 'task', 'train.steps', 'train.length', 'evaluate'))
  return {key: value for key, value in found.items() if key not in own and key not in varies}


def split(arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
  """Returns the program and its arguments; posjax.main if an arm begins with a flag."""
  if not arguments or arguments[0].startswith('-'):
    return 'posjax.main', arguments
  module, *own = arguments
  if module not in PROGRAMS:
    raise UserError(f'{module}: {one_of(module, PROGRAMS, "a program")}')
  return module, tuple(own)
