"""Counts and evaluates an n-gram model of bytes, the baseline of language models.

  python -m posjax.ngram --config=configs/rope.py --order=6

It reads the config as posjax.main does, with the same overrides --config.KEY=VALUE, counts all of
the config's training split, and scores the same held-out bytes as the Transformer of that config:
a window is the only context. Of the config it reads data, task.text, train.length and evaluate;
encoding, model and optimizer have no effect. The probabilities are those of models/ngram.py.

Exit codes: 0 success; 2 an error that you can fix, in the command line, config, disk or data.
"""

# ruff: noqa: E402  (`begin` runs before the slow imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from posjax import run as run_lib
from posjax.errors import UserError

if TYPE_CHECKING:
  from posjax.batch import Batch
  from posjax.models.ngram import Ngram
  from posjax.tasks import Task

PROGRAM = 'python -m posjax.ngram'


def parse(argv: Sequence[str]) -> run_lib.Run:
  """Returns the `Run` of a command line; its config has a section `ngram`, with the order.

  Raises:
    UserError: the command line or its config is invalid.
  """
  parser = program.Parser(PROGRAM, __doc__)
  parser.add_argument('--config', required=True, help='name or file of a config')
  parser.add_argument(
    '--order', type=int, choices=range(1, 9), default=6, metavar='N',
    help='bytes in an n-gram, from 1 to 8: the longest context, and the byte after it; by default 6'
  )
  parser.add_argument('--workdir', default='', help='folder of the results')
  options, overrides = parser.parse_known_args(argv)
  named = {key: value for key, value in vars(options).items() if key != 'order' and value}
  run = run_lib.parse(['posjax', *(f'--{k}={value}' for k, value in named.items()), *overrides])
  if other := [name for name in run.flags if run.flags[name].present and name not in named]:
    raise UserError(f'--{other[0]}: a flag of posjax.main only; see {PROGRAM} --help')
  if run.config.task.name != 'text':
    raise UserError(f'task.name = {run.config.task.name}: an n-gram model learns only text')
  if run.config.data.tokenizer != 'bytes':
    raise UserError(f'data.tokenizer = {run.config.data.tokenizer}: an n-gram model learns bytes')
  with run.config.unlocked():
    run.config.ngram = dict(order=options.order)
  name = f'ngram{options.order}-{run.name}'
  return run._replace(
    name=name, workdir=run.workdir if options.workdir else f'runs/{name}',
    command=f'{PROGRAM} {shlex.join(argv)}',
  )


class Scorer:
  """Computes the metrics of rows, as evaluate.Scorer does for a Transformer."""

  limit = None  # of the positions: any length can be scored

  def __init__(self, task: 'Task') -> None:
    self.task = task

  def __call__(self, model: 'Ngram', rows: 'Batch') -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns {'nats/byte': (values, weights)} for all rows of a numpy `Batch`."""
    tokens = np.concatenate([rows.stream.x, rows.targets[:, -1:]], axis=1)
    return {'nats/byte': (-model.log_probabilities(tokens), rows.weights)}


def execute(run: run_lib.Run) -> int:
  """Counts, scores, prints the table and saves evaluation.json; returns the exit code."""
  from posjax import evaluate, run_summary, state, tasks  # slow to import
  from posjax.models import ngram

  config, workdir = run.config, Path(run.workdir)
  if (workdir / 'checkpoints').exists():
    raise UserError(f'{workdir}: a Transformer was trained here; choose another --workdir')
  length, order = config.train.length, config.ngram.order
  task = tasks.build(length=length, **config.task)
  data = task.open(state.source(config), length, state.test_lengths(config))
  documents = [bytes(pieces.ids) for pieces in data.train]
  print(f'data       {data.name}', flush=True)
  start = time.perf_counter()
  model = ngram.fit(documents, order)
  seconds = {'count': time.perf_counter() - start}
  grams = ', '.join(f'{len(level.keys):,}' for level in model.levels)
  print(f'counted    {sum(map(len, documents)):,} bytes in {seconds["count"]:.1f} s')
  print(f'n-grams    {grams}, of 1 to {len(model.levels)} symbols', flush=True)
  start = time.perf_counter()
  result = evaluate.evaluate(Scorer(task), model, data)
  seconds['evaluate'] = time.perf_counter() - start
  print(f'scored     in {seconds["evaluate"]:.1f} s\n\n{run.name}, on {data.name}, test split')
  print(run_summary.table(result), flush=True)
  weights = [(level.probabilities, level.backoffs) for level in model.levels]
  contents: dict[str, Any] = {
    'name': run.name,
    'step': config.train.steps,  # counting has no steps; these compare with a trained model
    'seconds': seconds, **run_summary.record(config, data, weights), **result,
  }
  workdir.mkdir(parents=True, exist_ok=True)
  print(f'figure: {run_summary.save(contents, workdir)}')
  return 0


def main(argv: list[str]) -> int:
  """Returns the exit code."""
  return program.run_program(lambda: execute(parse(argv)))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
