"""Opens the folder of a run that posjax.main trained on text."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from posjax import run as run_lib
from posjax import state
from posjax.errors import UserError
from posjax.runtime import program


class Trained(NamedTuple):
  """A trained model: its name, the parts of its run, its weights, and the steps it was trained."""

  name: str
  folder: Path
  setup: state.Setup
  params: Any
  step: int


def load(folder: Path) -> Trained:
  """Returns the newest checkpoint of a run. Raises UserError if its task is not text."""
  config = run_lib.parse(['posjax', f'--workdir={folder}']).config
  if config.task.name != 'text':
    raise UserError(f'{folder}: its task is {config.task.name}; only runs on text can be read')
  setup = state.setup(config)
  saved = state.load(setup, folder, 'newest')
  return Trained(','.join(config.encoding.layers), folder, setup, saved.params, saved.step)


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
  """Returns a parser of a command line with one or more --run=FOLDER, in `run`."""
  own = program.Parser(f'python -m experiments.promises.{module}', description)
  own.add_argument(
    '--run', action='append', required=True, type=program.folder('--run'), metavar='FOLDER',
    help='folder of a run of posjax.main; repeat it to compare runs',
  )
  return own


def parse(module: str, description: str | None, argv: list[str]) -> list[Trained]:
  """Returns the runs of a command line that names nothing else."""
  return [*map(load, parser(module, description).parse_args(argv).run)]
