"""posjax.ngram: it counts the training split only, and scores the rows of the task."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from posjax import data, ngram, tasks
from posjax.data import BOS
from posjax.models.ngram import fit

SETTINGS = {
  'data.corpus': 'text:*.txt', 'train.length': 16, 'evaluate.multiples': '1,2',
  'task.text.tokens': 600, 'task.text.validation_tokens': 512, 'task.text.stride': 8,
  'task.text.windows': 9,
}


@pytest.fixture
def texts(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  for name, step in (('a', 3), ('b', 7)):
    lines = (f'line {i} of {name} follows line {i - step}' for i in range(step, 400))
    Path(f'{name}.txt').write_text('\n'.join(lines))


def run(*flags, order=4):
  settings = (f'--config.{key}={value}' for key, value in SETTINGS.items())
  return ngram.main(['--config=rope', f'--order={order}', *settings, *flags])


def nats_by_hand(model, rows, order):
  """Returns the mean over scored bytes; each is scored alone, after only the context it may have.

  Args:
    model: an n-gram model.
    rows: a `Batch`.
    order: its n.
  """
  found = []
  for x, targets, weights in zip(rows.stream.x, rows.targets, rows.weights, strict=True):
    for i in np.flatnonzero(weights):
      context = x[max(0, i - order + 2) : i + 1]
      starts = np.flatnonzero(context == BOS)
      context = context[starts[-1] :] if starts.size else context
      found.append(-model.log_probabilities(np.append(context, targets[i])[None])[0, -1])
  return math.fsum(found) / len(found)


def test_evaluation_scores_the_rows_of_the_task(texts, capsys):
  assert run('--workdir=out') == 0
  result = json.loads(Path('out/evaluation.json').read_text())
  values = {(r['test'], r['metric'], r['length']): r['value'] for r in result['records']}
  corpus = data.load('text:*.txt')
  model = fit(corpus.documents('train'), 4)
  task = tasks.build('text', 16, text=dict(tokens=600, validation_tokens=512, stride=8, windows=9))
  opened = task.open({'corpus': 'text:*.txt'}, 16, [16, 32])
  for test in ('non-overlapping', 'sliding'):
    for length in (16, 32):
      nats = nats_by_hand(model, opened.tests[test].rows[length], 4)
      assert values.pop((test, 'nats/byte', length)) == pytest.approx(nats, rel=1e-12)
      assert values.pop((test, 'bits/byte', length)) == pytest.approx(nats / math.log(2), rel=1e-12)
  assert not values
  assert result['sha256'] == corpus.sha256 and result['corpus'] == str(corpus)
  assert result['step'] == 1000 and result['limit'] is None
  assert result['weights'] == sum(
    level.probabilities.size + level.backoffs.size for level in model.levels
  )
  assert result['config']['ngram'] == {'order': 4}
  positions = result['by_position']['sliding']['bits/byte']
  assert positions[:24] == [None] * 24 and None not in positions[24:]
  size = sum(map(len, corpus.documents('train')))
  out = capsys.readouterr().out
  assert f'counted    {size:,} bytes in ' in out and 'figure: out/by_length.png\n' in out
  assert Path('out/by_length.png').read_bytes().startswith(b'\x89PNG')


def test_the_default_folder_names_the_order(texts):
  assert run(order=2) == 0 and run(order=3) == 0
  names = sorted(path.name for path in Path('runs').iterdir())
  assert [name[:17] for name in names] == ['ngram2-rope-tiny-', 'ngram3-rope-tiny-']
  two, three = (
    json.loads((Path('runs') / name / 'evaluation.json').read_text()) for name in names
  )
  assert (two['name'], three['name']) == tuple(names)
  assert three['records'][0]['value'] < two['records'][0]['value']


@pytest.mark.parametrize('flags, said', [
  (('--order=9',), "argument --order: invalid choice: 9 (choose from 1, 2, 3, 4, 5, 6, 7, 8)"),
  (('--mode=evaluate',), '--mode: a flag of posjax.main only; see python -m posjax.ngram --help'),
  (('--dry_run',), '--dry_run: a flag of posjax.main only; see python -m posjax.ngram --help'),
  (('--ordr=3',), '--ordr: no such flag; '),
  (('--config.train.lenght=9',), '--config.train.lenght: no such key; did you mean train.length'),
  (('--config=configs/tasks/copy.py',), 'task.name = copy: an n-gram model learns only text'),
  (('--config=rpoe',), '--config=rpoe: no such file; did you mean rope'),
  (('--workdir=gs://bucket/x',), '--workdir=gs://bucket/x: '),
])
def test_mistake_is_one_line(capsys, flags, said):
  assert ngram.main(['--config=rope', *flags]) == 2
  error = capsys.readouterr().err
  assert error.startswith(f'posjax: {said}') and error.count('\n') == 1


def test_a_config_is_required(capsys):
  assert ngram.main(['--order=3']) == 2
  assert capsys.readouterr().err == 'posjax: the following arguments are required: --config\n'


def test_the_results_of_a_transformer_are_not_overwritten(texts, capsys):
  Path('out/checkpoints').mkdir(parents=True)
  assert run('--workdir=out') == 2
  assert capsys.readouterr().err == (
    'posjax: out: a Transformer was trained here; choose another --workdir\n'
  )
  assert [path.name for path in Path('out').iterdir()] == ['checkpoints']
