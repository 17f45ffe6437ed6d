"""Evaluation: each test of the task at each length, as flat records.

A record holds one number: {test, metric, length, value, floor}. The value is null if the length
exceeds the positions that an encoding can represent. The floor is the value of a guess, null if the
task defines none.
"""

import functools
import math
import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from posjax import run_summary, sharding, state, texts
from posjax.batch import Batch
from posjax.encodings.core.declarations import by_axis, represents
from posjax.models.transformer import Transformer, outputs_of
from posjax.runtime import compile_cache, hosts, remote
from posjax.tasks import Data, Task

BLOCKS = 16  # of rows, in the records of the noise of a test
LONG = 'by_position', 'blocks'  # keys of a result that are too long for summaries


class Scorer:
  """A function that computes the metrics of rows on the mesh, in pieces of equal shape.

  Args:
    task: defines the metrics.
    model: a `Transformer`.
    mesh: the devices.
    tokens_per_call: the approximate number of tokens in a piece.
    seed: for encodings that draw positions in evaluation.
  """

  def __init__(
    self, task: Task, model: Transformer, mesh: jax.sharding.Mesh, tokens_per_call: int, seed: int
  ) -> None:
    self._mesh, self._tokens, self._rng = mesh, tokens_per_call, jax.random.key(seed)
    self.task, self.limit = task, model.limit

    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    # Replicated, so that each host can read all results.
    @functools.partial(
      jax.jit, out_shardings=replicated, compiler_options=compile_cache.quickly()
    )
    def metrics(params, batch, rng):
      return task.metrics(outputs_of(model, params, batch, rng=rng), batch)

    self._metrics = metrics

  def __call__(self, params: Any, batch: Batch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns {name: (values, weights)} for all rows of a numpy `Batch`, in float64."""
    parts, (count, length) = sharding.row_parts(self._mesh), batch.stream.x.shape[:2]
    rows = -(-max(1, self._tokens // length) // parts) * parts
    pieces = []
    for start in range(0, count, rows):
      piece = jax.tree.map(lambda x, start=start: padded(x[start : start + rows], rows), batch)
      placed = sharding.shard_batch(piece, self._mesh)
      # The key is for encodings that also draw positions in evaluation.
      made = self._metrics(params, placed, jax.random.fold_in(self._rng, start))
      pieces.append(jax.tree.map(lambda x: np.asarray(x)[: count - start], made))  # noqa: B023
    join = lambda *parts: np.concatenate([part.astype(np.float64) for part in parts])
    return jax.tree.map(join, *pieces)


def padded(x: np.ndarray, rows: int) -> np.ndarray:
  """Returns `x` padded with zeros to `rows` rows; the padding has weight 0."""
  return np.pad(x, [(0, rows - len(x))] + [(0, 0)] * (x.ndim - 1))


def mean(values: np.ndarray, weights: np.ndarray) -> float:
  return float(np.sum(values * weights) / np.sum(weights))


def validate(scorer: Scorer, params: Any, rows: Batch) -> float:
  """Returns the mean, over validation rows, of the metric that selects the best checkpoint."""
  return mean(*scorer(params, rows)[scorer.task.best])


def by_position(
  task: Task, found: dict[str, tuple[np.ndarray, np.ndarray]], length: int
) -> dict[str, list[float | None]]:
  """Returns {metric: [mean at each position]} of metrics with a value for each token of a row.

  A mean is None where all weights are 0. Metrics of rows or segments are left out.
  """
  tokens = {name: pair for name, pair in found.items() if pair[0].shape[1:] == (length,)}
  sums = {name: np.sum(values * weights, axis=0) for name, (values, weights) in tokens.items()}
  counts = {name: np.sum(weights, axis=0) for name, (_, weights) in tokens.items()}
  rows = [
    task.summary({name: float(sums[name][i] / counts[name][i]) for name in tokens})
    if all(counts[name][i] for name in tokens) else None
    for i in range(len(next(iter(sums.values()), ())))
  ]
  names = next(filter(None, rows), {})
  return {name: [row and row[name] for row in rows] for name in names}


def by_block(task: Task, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
  """Returns {metric: [[value, weight] of each block of rows]}, to estimate the noise of a mean.

  A block is the same part of the data in every run, and at every length up to a row at its ends.
  """
  count = len(next(iter(found.values()))[0])
  blocks: dict[str, Any] = {}
  for own in np.array_split(np.arange(count), min(BLOCKS, count)):
    pairs = {name: (values[own], weights[own]) for name, (values, weights) in found.items()}
    weight = {name: float(np.sum(weights)) for name, (_, weights) in pairs.items()}
    if all(weight.values()):
      summary = task.summary({name: mean(*pair) for name, pair in pairs.items()})
      for name, value in summary.items():
        blocks.setdefault(name, []).append([value, weight.get(name, weight[next(iter(weight))])])
  return blocks


def evaluate(scorer: Scorer, params: Any, data: Data) -> dict[str, Any]:
  """Scores all tests at all lengths.

  Args:
    scorer: the model's `Scorer`.
    params: its weights.
    data: the task's `Data`.

  Returns:
    A JSON-serializable dict: 'limit', the positions that the encodings can represent, or
    None; 'tests', {name: title}; 'records'; 'by_position', {test: {metric: [...]}}, at the longest
    length within the limit; 'blocks', {test: {length: `by_block`}}; 'scored', from `data`; 'unit'
    and 'shown', from the task.
  """
  task, limit, records = scorer.task, scorer.limit, []
  positions: dict[str, Any] = {}
  blocks: dict[str, Any] = {name: {} for name in data.tests}
  for name, test in data.tests.items():
    for length, rows in test.rows.items():
      floors = test.floors.get(length, {})
      within = represents(limit, task.extent(length))
      if within:
        found = scorer(params, rows)
        values = task.summary({metric: mean(*pair) for metric, pair in found.items()})
        positions[name] = by_position(task, found, length)
        blocks[name][str(length)] = by_block(task, found)
      records += [
        {
          'test': name, 'metric': metric, 'length': length,
          'value': value if within else None, 'floor': floors.get(metric),
        } for metric, value in values.items()
      ]
  return {
    'limit': by_axis(limit) if isinstance(limit, tuple) else limit,
    'tests': {name: test.title for name, test in data.tests.items()},
    'records': records, 'by_position': positions, 'blocks': blocks, 'scored': data.scored,
    'unit': task.unit, 'shown': list(task.shown),
  }


def add_texts(
  result: dict[str, Any], config: ConfigDict, task: Task, model: Any, params: Any, data: Data
) -> None:
  """Adds the scores of generated texts to a result of `evaluate`, if the task scores texts.

  Several hosts do not: --mode=evaluate on one host then adds them.
  """
  if task.scored_texts and hosts.count() == 1:
    title, scores = texts.score(config, task, model, params, data)
    result['tests']['generated'] = title
    result['records'] += [
      {
        'test': 'generated', 'metric': metric, 'length': config.train.length, 'value': value,
        'floor': None,
      } for metric, value in scores.items()
    ]


def run(
  config: ConfigDict, workdir: pathlib.Path | str, *, name: str, checkpoint: str, command: str
) -> None:
  """Evaluates a saved checkpoint of `workdir`: 'newest', 'best' or a step."""
  setup = state.setup(config)
  data = hosts.together(setup.open)
  saved = state.load(setup, workdir, checkpoint)
  if saved.read_with:
    print(run_summary.read_with(saved.read_with), flush=True)
  scorer = Scorer(
    setup.task, saved.model, setup.mesh, config.train.batch * config.train.length, config.seed
  )
  with jax.set_mesh(setup.mesh):
    result = evaluate(scorer, saved.params, data)
    add_texts(result, config, setup.task, saved.model, saved.params, data)
  record = run_summary.record(config, data, saved.params) | {
    'trained_on': saved.record['corpus'],
    'read_with': {key: new for key, (_, new) in saved.read_with.items()},
  }
  hint = setup.task.hint(data, scorer.limit or math.inf, config.generate.tokens)
  if hosts.first():
    files = remote.Files(workdir)
    run_summary.finish(
      result, record, files.local, name=name, step=saved.step, command=command,
      differs=saved.read_with, hint=hint,
    )
    files.upload()
