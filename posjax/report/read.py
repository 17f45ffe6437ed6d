"""Reads folders of sweeps: the manifest, and the files of the finished runs that it names."""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from posjax import metrics
from posjax.errors import UserError
from posjax.sweep import runs as runs_lib
from posjax.sweep import verdict
from posjax.sweep.experiment import Experiment
from posjax.sweep.runs import Run
from posjax.sweep.verdict import Verdict

# Without these keys, a manifest was written by another version.
KEYS = (
  'experiment', 'claim', 'text', 'tier', 'files', 'measure', 'threshold', 'tuning_seed', 'claims',
  'verdicts', 'outcome', 'rates', 'runs', 'jax',
)


@dataclasses.dataclass(frozen=True)
class Sweep:
  """A sweep's folder.

  Attributes:
    name: a name for files and anchors, different from those of the other sweeps of a page.
    folder: of manifest.json.
    manifest: its contents.
    done: [(run, evaluation.json)] of finished runs, without those that only try a learning rate.
    verdicts: with p corrected over all claims of the page.
  """

  name: str
  folder: Path
  manifest: dict[str, Any]
  done: list[tuple[Run, dict[str, Any]]]
  verdicts: list[Verdict]

  @property
  def experiment(self) -> Experiment:
    """Returns what the judgement of results needs to know of the experiment."""
    m = self.manifest
    return Experiment(
      Path(m['experiment']), m['files'][-1]['sha256'], m['text'], arms={}, seeds=(),
      measure=tuple(m['measure']), threshold=m['threshold'],
    )

  @property
  def subject(self) -> str:
    """Returns what the experiment is about: its first line up to the colon."""
    return self.manifest['claim'].partition(':')[0]

  @property
  def arms(self) -> list[str]:
    return [*dict.fromkeys(run.arm for run, _ in self.done)]

  def of_arm(self, arm: str) -> list[tuple[Run, dict[str, Any]]]:
    return [(run, result) for run, result in self.done if run.arm == arm]

  def seconds(self) -> float:
    """Returns the time of all runs, those that try learning rates too."""
    told = [entry['seconds'] for entry in self.manifest['runs'] if 'seconds' in entry]
    # An n-gram model reports its seconds by activity.
    return sum(sum(own.values()) if isinstance(own, dict) else own for own in told)


def load_all(folders: Sequence[Path]) -> list[Sweep]:
  """Returns the sweeps of folders; p-values are corrected over the claims of all of them.

  Raises:
    UserError: a folder has no manifest.json, or one of another version, or lacks a finished run.
  """
  manifests = [manifest_of(folder) for folder in folders]
  every = [[Verdict(**each) for each in own['verdicts']] for own in manifests]
  corrected = iter(verdict.corrected(each for own in every for each in own))
  return [
    Sweep(name, folder, own, [*finished(folder, own)], [next(corrected) for _ in judged])
    for name, folder, own, judged in zip(names(folders), folders, manifests, every, strict=True)
  ]


def names(folders: Sequence[Path]) -> Iterator[str]:
  """Yields a different name for each folder."""
  used: set[str] = set()
  for folder in folders:
    stem = re.sub(r'[^\w.-]|^\.+', '_', folder.resolve().name)
    numbered = (f'{stem}-{i}' if i > 1 else stem for i in range(1, len(folders) + 1))
    name = next(name for name in numbered if name not in used)
    used.add(name)
    yield name


def manifest_of(folder: Path) -> dict[str, Any]:
  """Returns the contents of a folder's manifest.json. Raises UserError if it is not usable."""
  path = folder / 'manifest.json'
  if not path.is_file():
    raise UserError(f'{folder}: no manifest.json; python -m posjax.sweep EXPERIMENT writes one')
  again = 'run python -m posjax.sweep EXPERIMENT again'
  try:
    found = json.loads(path.read_text('utf-8'))
  except ValueError as error:
    raise UserError(f'{path}: not a manifest; {again}') from error
  fields = {field.name for field in dataclasses.fields(Verdict)}
  missing = [key for key in KEYS if not isinstance(found, dict) or key not in found]
  if missing or any({*each} != fields for each in found['verdicts']):
    what = f'it has no {missing[0]}' if missing else 'its verdicts have other fields'
    raise UserError(f'{path}: written by another version of posjax, {what}; {again}')
  return found


def finished(folder: Path, manifest: dict[str, Any]) -> Iterator[tuple[Run, dict[str, Any]]]:
  """Yields (run, evaluation.json) of the finished runs of arms."""
  for entry in manifest['runs']:
    if entry['rate'] is None and entry['status'] == 'done':
      own = locate(folder, Path(entry['directory']))
      result, config = runs_lib.read(own / 'evaluation.json'), ConfigDict(entry['config'])
      yield Run(entry['arm'], entry['seed'], '', (), own, config, entry['command']), result


def locate(folder: Path, directory: Path) -> Path:
  """Returns the folder of a run; a sweep may have been moved, alone or with its pool of runs."""
  pool, name = directory.parts[-2:]
  places = folder.resolve().parent / pool / name, folder / name, directory
  for place in places:
    if (place / 'evaluation.json').is_file():
      return place
  raise UserError(f'{folder}: {directory}, a finished run, has no evaluation.json')


def seconds_per_step(run: Run) -> float | None:
  """Returns the time of a training step, without those before the first line of speed.jsonl."""
  rows = [row for _, row in metrics.parsed(run.folder / metrics.SPEED, 0)]
  if len(rows) < 2:  # an n-gram model has no steps
    return None
  return (rows[-1]['seconds'] - rows[0]['seconds']) / (rows[-1]['step'] - rows[0]['step'])
