"""An experiment's file: a question, its arms, how they are tuned, and the claims to judge."""

import dataclasses
import hashlib
import re
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from posjax import config as config_lib
from posjax.errors import UserError, one_of

TUNING_SEED = 9  # of the runs that choose learning rates; no seed of an experiment


@dataclasses.dataclass(frozen=True)
class Tier:
  """A size of an experiment.

  Attributes:
    flags: added to every arm.
    size: of the config files, such as small.
    seeds, rates: instead of the file's; None: the same.
    judges: whether claims are judged. A smoke test shows only that everything runs.
    needs: the device, and how long it takes there, as one phrase.
  """

  flags: tuple[str, ...] = ()
  size: str = ''
  seeds: tuple[int, ...] | None = None
  rates: tuple[float, ...] | None = None
  judges: bool = True
  needs: str = ''


@dataclasses.dataclass(frozen=True)
class Claim:
  """An inequality between results, written down before the runs.

  Attributes:
    text: the claim, one sentence.
    value: from at(arm, length), the mean of the experiment's measure; at(…, test=, metric=) is
      another measure. Must be linear, a maximum or a minimum: it gets arrays of resampled means.
    above, below: what the value must be, such as above=0.2; one of the two.
    learned: arms that must have learned the task at the trained length.
    paper: the paper's own figure, with its source.
  """

  text: str
  value: Callable[..., Any]
  above: float | None = None
  below: float | None = None
  learned: tuple[str, ...] = ()
  paper: str = ''


@dataclasses.dataclass(frozen=True)
class Exact:
  """A claim about a number that is computed without noise, such as the error of an identity."""

  text: str
  value: Callable[[], float]
  above: float | None = None
  below: float | None = None
  paper: str = ''


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

  def tier(self, name: str) -> Tier:
    """Returns a tier. Raises UserError if the file has none of that name."""
    smoke = Tier(
      ('--config.train.steps=20', '--config.checkpoint.every=20'), seeds=self.seeds[:1],
      rates=self.rates[:1], judges=False, needs='two CPU cores, two minutes',
    )
    tiers = {'smoke': smoke, 'cpu': Tier()} | dict(self.tiers)
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
  if not names['__doc__']:
    raise UserError(f'{path}: its docstring must state the claim and the paper')
  fields = {field.name for field in dataclasses.fields(Experiment)} - {'path', 'sha256', 'text'}
  own = {key.lower(): value for key, value in names.items() if key.lower() in fields
         and key.isupper()}
  check_arms(path, 'ARMS', own.get('arms'))
  if 'then' in own:
    check_arms(path, 'THEN', own['then'])
  seeds = own.get('seeds')
  if not isinstance(seeds, tuple) or {*map(type, seeds)} != {int} or len({*seeds}) < len(seeds):
    raise UserError(f'{path}: SEEDS must be a tuple of different integers, such as (0, 1, 2)')
  if own.get('rates') and TUNING_SEED in seeds:
    raise UserError(f'{path}: SEEDS: {TUNING_SEED} is the seed that chooses among RATES')
  sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
  return Experiment(path, sha256, names['__doc__'], **own)


def check_arms(path: Path, name: str, arms: Any) -> None:
  """Raises UserError unless `arms` is a dict of tuples whose keys can name folders."""
  # A one-element tuple without its comma is a string, and each letter would be an argument.
  if not isinstance(arms, dict) or {*map(type, arms.values())} != {tuple}:
    raise UserError(f"{path}: {name} must be a dict like {{'rope': ('--config=configs/rope.py',)}}")
  for arm in arms:
    if not isinstance(arm, str) or not re.fullmatch(r'[^\W_][\w.+=-]{0,59}', arm):
      raise UserError(
        f'{path}: {name}: {arm!r} cannot name a folder: an arm begins with a letter or a digit and '
        'has letters, digits and . _ + = - only, 60 at most'
      )
