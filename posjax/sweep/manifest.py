"""The manifest of an experiment: what was asked, every run with its result, and the verdicts.

The report is made from manifests, and from the folders of runs that they name.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posjax import evaluate
from posjax.runtime import files
from posjax.sweep import runs as runs_lib
from posjax.sweep import table, verdict
from posjax.sweep.experiment import TUNING_SEED, Experiment, Tier
from posjax.sweep.runs import Run
from posjax.sweep.verdict import Verdict


class Manifest:
  """manifest.json of a sweep's folder.

  `files` lists the versions of the experiment's file, each with the number of runs that were done
  when it was first read: a criterion is older than the results that it judges if that number is 0.
  """

  def __init__(self, experiment: Experiment, name: str, tier: Tier, workdir: Path) -> None:
    self.path = workdir / 'manifest.json'
    self._experiment, self._name, self._tier = experiment, name, tier
    self._versions = runs_lib.read(self.path).get('files', [])

  def update(self, known: Sequence[Sequence[Run]]) -> list[Verdict]:
    """Writes the manifest of the runs of all known stages; returns the verdicts."""
    experiment, runs = self._experiment, [run for stage in known for run in stage]
    done = [(run, result) for run in runs if run.rate is None and (result := run.result())]
    if experiment.sha256 not in [version['sha256'] for version in self._versions]:
      self._versions.append({'sha256': experiment.sha256, 'done': len(done)})
    verdicts = verdict.judge(experiment, done) if self._tier.judges and experiment.claims else []
    entries = [self._entry(run) for run in runs]
    # Lists, since a sweep may resume after an update. `code` is posjax's version and commit.
    made_with = {
      key: sorted({entry[key] for entry in entries if key in entry})
      for key in ('code', 'python', 'jax')
    }
    contents = {
      'experiment': str(experiment.path), 'claim': experiment.question, 'text': experiment.text,
      'tier': self._name, 'files': self._versions, 'measure': experiment.measure,
      'threshold': experiment.threshold, 'tuning_seed': TUNING_SEED, **made_with,
      'claims': [self._claim(claim) for claim in experiment.claims],
      'verdicts': [dataclasses.asdict(each) for each in verdicts],
      'outcome': verdict.overall(each.outcome for each in verdicts) if verdicts else '',
      'rates': table.tried(known), 'runs': entries,
    }
    self.path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(self.path, json.dumps(contents, indent=2) + '\n')
    return verdicts

  def _claim(self, claim: Any) -> dict[str, str]:
    return {'text': claim.text, 'criterion': verdict.criterion(claim), 'paper': claim.paper}

  def _entry(self, run: Run) -> dict[str, Any]:
    result = {k: v for k, v in run.result().items() if k not in evaluate.LONG}
    return {
      'arm': run.arm, 'seed': run.seed, 'rate': run.rate, 'command': run.command,
      'directory': str(run.folder), 'status': run.status(), **result, **run.note(),
    }
