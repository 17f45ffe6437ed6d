"""An experiment's file: a question, its arms, how they are tuned, and the claims to judge."""

import dataclasses
import hashlib
import math
import re
import runpy
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from posjax import config as config_lib
from posjax.errors import UserError, one_of

TUNING_SEED = 9  # of the runs that choose learning rates; no seed of an experiment


@dataclasses.dataclass(frozen=True)
class Tier:
  """A size of an experiment.

  Attributes:
    flags: added to every arm.
    size: of the config files, such as small.
    seeds: instead of the file's; (): the same.
    rates: instead of the file's; None: the same.
    judges: whether claims are judged. A smoke test shows only that everything runs.
    needs: the device, and how long it takes there, as one phrase.
  """

  flags: tuple[str, ...] = ()
  size: str = ''
  seeds: tuple[int, ...] = ()
  rates: tuple[float, ...] | None = None
  judges: bool = True
  needs: str = ''

  def __post_init__(self) -> None:
    if not (isinstance(self.flags, tuple) and all(f'{flag}'[:2] == '--' for flag in self.flags)):
      raise ValueError(f"flags = {self.flags!r}: must be a tuple like ('--config.train.steps=9',)")
    if self.seeds != ():
      require('seeds', self.seeds)
    if self.rates is not None:
      require('rates', self.rates)


@dataclasses.dataclass(frozen=True)
class Claim:
  """An inequality between results, written down before the runs.

  Attributes:
    text: the claim, one sentence.
    value: from at(arm, length), the mean of the experiment's measure; at(…, test=, metric=) is
      another measure. Must be linear, a maximum or a minimum: it gets arrays of resampled means.
    above, below: what the value must be, such as above=0.2; one of the two.
    null: the value without an effect, 0 for a difference; None for a level, such as an accuracy.
    learned: arms that must have learned the task at the trained length.
    paper: the paper's own figure, with its source.
  """

  text: str
  value: Callable[..., Any]
  above: float | None = None
  below: float | None = None
  null: float | None = 0.0
  learned: tuple[str, ...] = ()
  paper: str = ''

  def __post_init__(self) -> None:
    check_bound(self)
    if not isinstance(self.learned, tuple):
      raise ValueError(f'learned = {self.learned!r}: must be a tuple of arms')


@dataclasses.dataclass(frozen=True)
class Exact:
  """A claim about a number that is computed without noise, such as the error of an identity."""

  text: str
  value: Callable[[], float]
  above: float | None = None
  below: float | None = None
  paper: str = ''

  def __post_init__(self) -> None:
    check_bound(self)


def check_bound(claim: Claim | Exact) -> None:
  """Raises ValueError unless a claim has a function and one of two bounds."""
  if not callable(claim.value):
    raise ValueError(f'{claim.text}: value must be a function, such as lambda at: at("rope", 64)')
  if (claim.above is None) == (claim.below is None):
    raise ValueError(f'{claim.text}: must have one of above and below')


@dataclasses.dataclass(frozen=True)
class Experiment:
  """The contents of a file.

  Attributes:
    path, sha256: of the file.
    text: its docstring; the first line is the question.
    arms: {name: arguments of posjax.main, or a program and its arguments}.
    then: arms that start after the others; {rope} in an argument is the folder of the run of rope
      with the same seed.
    seeds: of each arm.
    rates: learning rates that each arm tries with TUNING_SEED; the best on validation is used.
    measure: (test, metric) that claims are about; the test 'training' has the metric 'loss', the
      mean over all steps.
    threshold: the value of the measure at the trained length that proves a task learned.
    claims: what is judged.
    varies: config keys in which the arms differ although they share a table, such as train.steps.
    pool: a folder of runs, shared with other experiments whose arms of the same name are the same.
    tiers: {name: Tier}.
  """

  path: Path
  sha256: str
  text: str
  arms: Mapping[str, tuple[str, ...]]
  seeds: tuple[int, ...]
  then: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  rates: tuple[float, ...] = ()
  measure: tuple[str, str] = ('non-overlapping', 'bits/byte')
  threshold: float = 0.95
  claims: tuple[Claim | Exact, ...] = ()
  varies: tuple[str, ...] = ()
  pool: str = ''
  tiers: Mapping[str, Tier] = dataclasses.field(default_factory=dict)

  @property
  def question(self) -> str:
    return self.text.strip().splitlines()[0]

  def known_tiers(self) -> dict[str, Tier]:
    """Returns the tiers of the file, and smoke and cpu, which every file has.

    Seeds and rates that a tier leaves open are those of the file.
    """
    smoke = Tier(
      ('--config.train.steps=20', '--config.optimizer.warmup=2', '--config.checkpoint.every=20'),
      seeds=self.seeds[:1], rates=self.rates[:1], judges=False,
      needs='two CPU cores, minutes',
    )
    return {
      name: dataclasses.replace(
        tier, seeds=tier.seeds or self.seeds,
        rates=self.rates if tier.rates is None else tier.rates,
      ) for name, tier in ({'smoke': smoke, 'cpu': Tier()} | dict(self.tiers)).items()
    }

  def tier(self, name: str) -> Tier:
    """Returns a tier. Raises UserError if the file has none of that name."""
    tiers = self.known_tiers()
    if name not in tiers:
      raise UserError(f'--tier={name}: {one_of(name, tiers)}')
    return tiers[name]


def load(path: Path) -> Experiment:
  """Returns the experiment of a file.

  Raises:
    UserError: the file is missing or invalid.
  """
  if not path.is_file():
    raise UserError(f'{path}: no such file; an example is experiments/extrapolation.py')
  with config_lib.blame_file(path):
    names = runpy.run_path(str(path))
  if not (names['__doc__'] or '').strip():
    raise UserError(f'{path}: its docstring must state the claim and the paper')
  fields = {field.name for field in dataclasses.fields(Experiment)} - {'path', 'sha256', 'text'}
  own = {key.lower(): value for key, value in names.items() if key.lower() in fields
         and key.isupper()}
  check_arms(path, 'ARMS', own.get('arms'))
  if own.get('then', {}) != {}:
    check_arms(path, 'THEN', own['then'])
  for name, value in ({'seeds': None} | own).items():
    try:
      require(name, value)
    except ValueError as error:
      raise UserError(f'{path}: {error}') from error
  sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
  experiment = Experiment(path, sha256, names['__doc__'], **own)
  check(experiment)
  return experiment


def check(experiment: Experiment) -> None:
  """Raises UserError if names in a file contradict each other."""
  path, arms = experiment.path, experiment.arms
  for tier in experiment.known_tiers().values():
    if tier.rates and TUNING_SEED in tier.seeds:
      raise UserError(f'{path}: SEEDS: {TUNING_SEED} is the seed that chooses among RATES')
  for arm, arguments in experiment.then.items():
    if arm in arms:
      raise UserError(f'{path}: arm {arm} is both in ARMS and in THEN')
    for name in re.findall(r'\{([\w.+=-]+)\}', ' '.join(arguments)):
      if name not in arms:
        raise UserError(f'{path}: arm {arm}: {{{name}}}: {one_of(name, arms, "the arm")}')
  for claim in experiment.claims:
    if isinstance(claim, Claim):
      with config_lib.blame_file(path):
        asked(claim, [*arms, *experiment.then])


def asked(claim: Claim, arms: Collection[str]) -> list[tuple[str, int]]:
  """Returns the (arm, length) of the results that a claim asks for.

  Raises:
    ValueError: it asks for an arm that is not in `arms`, or its value is not linear in results.
  """
  pairs = []

  def at(arm: str, length: int, *, test: str = '', metric: str = '') -> np.ndarray:
    pairs.append((arm, length))
    if arm not in arms:
      raise ValueError(f'{claim.text}: {arm}: {one_of(arm, arms, "the arm")}')
    return np.array([1.0, 2.0])  # two draws: a comparison of Python's fails

  with np.errstate(all='ignore'):
    value = claim.value(at)
  if np.shape(value) != (2,) or np.asarray(value).dtype != float:
    raise ValueError(f'{claim.text}: its value must be a sum, or np.maximum, of results of at')
  for arm in claim.learned:
    if arm not in arms:
      raise ValueError(f'{claim.text}: learned: {arm}: {one_of(arm, arms, "the arm")}')
  return pairs


def of_type(value: Any, *types: type) -> bool:
  """Returns whether a value is a tuple whose elements have these types."""
  return isinstance(value, tuple) and {*map(type, value)} <= {*types}


FOLDER = r'[^\W_][\w.+=-]{0,59}'
# What each name of a file must be, and whether a value is that.
REQUIRED: dict[str, tuple[str, Callable[[Any], bool]]] = {
  'seeds': (
    'a tuple of different integers, such as (0, 1, 2)',
    lambda seeds: of_type(seeds, int) and 0 < len(seeds) == len({*seeds}),
  ),
  'rates': (
    'a tuple of different positive numbers, such as (3e-3, 1e-2)',
    lambda rates: of_type(rates, int, float) and all(0 < rate < math.inf for rate in rates)
    and len({f'{rate:g}' for rate in rates}) == len(rates),
  ),
  'measure': (
    "a test and a metric, such as ('sliding', 'bits/byte')",
    lambda measure: of_type(measure, str) and len(measure) == 2,
  ),
  'threshold': ('a number, such as 0.95', lambda threshold: type(threshold) in (int, float)),
  'claims': (
    'a tuple of Claim and Exact; one needs a comma: (Claim(…),)',
    lambda claims: of_type(claims, Claim, Exact),
  ),
  'varies': (
    "a tuple of keys, such as ('train.steps',)", lambda varies: of_type(varies, str),
  ),
  'pool': (
    'the name of a folder, such as text64',
    lambda pool: isinstance(pool, str) and not pool or names_folder(pool),
  ),
  'tiers': (
    "a dict like {'gpu': Tier(size='small')}",
    lambda tiers: isinstance(tiers, dict) and all(map(names_folder, tiers))
    and {*map(type, tiers.values())} <= {Tier},
  ),
}


def require(name: str, value: Any) -> None:
  """Raises ValueError unless the value of a name is valid; ARMS and THEN have `check_arms`."""
  what, valid = REQUIRED.get(name, ('', lambda _: True))
  if not valid(value):
    raise ValueError(f'{name.upper()} must be {what}')


def names_folder(name: Any) -> bool:
  return isinstance(name, str) and re.fullmatch(FOLDER, name) is not None


def check_arms(path: Path, name: str, arms: Any) -> None:
  """Raises UserError unless `arms` is a dict of tuples whose keys can name folders."""
  # A one-element tuple without its comma is a string, and each letter would be an argument.
  if not (isinstance(arms, dict) and arms and all(of_type(own, str) for own in arms.values())):
    raise UserError(f"{path}: {name} must be a dict like {{'rope': ('--config=configs/rope.py',)}}")
  for arm in arms:
    if not names_folder(arm):
      raise UserError(
        f'{path}: {name}: {arm!r} cannot name a folder: an arm begins with a letter or a digit and '
        'has letters, digits and . _ + = - only, 60 at most'
      )
