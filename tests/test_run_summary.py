"""Output of a run: its first lines, the command that continues a text, and tables."""

import math
import types

import pytest

from posjax import config as config_lib
from posjax import run_summary, state
from posjax.data.corpus import SPLITS, Corpus
from posjax.tasks.core.task import Data
from posjax.tasks.text import Text


@pytest.mark.parametrize('text, expected', [
  (b'One line and no other', 'One line and no othe'),
  (b'rest of a line\n\n\tif x:\n', 'if x:'),  # an excerpt may begin anywhere
  (b"\x00\x01 binary\n\x07\nit's", "it's"),
  ('\na234567890123456789ü'.encode(), 'a234567890123456789'),  # ü has bytes 19 and 20
  (b'\x00', ''),
])
def test_a_prompt_is_a_line_that_can_be_printed(text, expected):
  splits = dict.fromkeys(SPLITS, [b'no prompt']) | {'test': [text]}
  assert Text().beginning(Corpus('memory', 1, 1, '', SPLITS, splits)) == expected


@pytest.mark.parametrize('limit, prompt, expected', [
  (None, "it's", """command --mode=generate --prompt='it'"'"'s'"""),
  (None, '', "command --mode=generate --prompt=''"),
  (300, 'x' * 20, f'command --mode=generate --prompt={"x" * 20}'),
  # A limit leaves room for BOS and the prompt, which takes at most half of the limit.
  (64, 'x' * 20, f'command --config.generate.tokens=43 --mode=generate --prompt={"x" * 20}'),
  (9, 'aüü', 'command --config.generate.tokens=5 --mode=generate --prompt=\'aü\''),
])
def test_the_next_command(limit, prompt, expected, tmp_path, monkeypatch, capsys):
  opened = Data('text', '', train=(), validation=None, tests={}, prompt=prompt)
  hint = Text().hint(opened, math.inf if limit is None else limit, 256)
  assert shown(hint, tmp_path, monkeypatch, capsys)[-1] == f'next:   {expected}'


def test_no_next_command_without_text(tmp_path, monkeypatch, capsys):
  assert shown('', tmp_path, monkeypatch, capsys)[-1] == 'figure: figure'


def shown(hint, workdir, monkeypatch, capsys):
  monkeypatch.setattr(run_summary, 'table', lambda result: 'table')
  monkeypatch.setattr(run_summary, 'save', lambda contents, workdir, suffix: 'figure')
  record = {'corpus': 'text'}
  run_summary.finish({}, record, workdir, name='rope', step=3, command='command', hint=hint)
  return capsys.readouterr().out.splitlines()


def test_a_table_of_several_tests_and_metrics():
  """Columns stay separate for any limit; the score of a guess is a line."""
  tests = {'even': 'even lengths', 'odd': 'odd lengths'}
  floors = {'nats': None, 'exact match': 0.5}
  records = [
    {
      'test': test, 'metric': metric, 'length': length,
      'value': None if length > 1024 else 0.25, 'floor': floors[metric],
    }
    for length in (1024, 1536) for test in tests for metric in floors
  ]
  result = {'limit': 1024, 'tests': tests, 'records': records, 'scored': ''}
  assert run_summary.table(result).splitlines() == [
    '                                    even                       odd',
    '        length         nats  exact match         nats  exact match',
    '  1,024    1x         0.250        0.250        0.250        0.250',
    '  1,536  1.5x   beyond 1024  beyond 1024  beyond 1024  beyond 1024',
    'even lengths',
    'odd lengths',
    'a guess, even, exact match: 0.500 at 1,024, 0.500 at 1,536',
    'a guess, odd, exact match: 0.500 at 1,024, 0.500 at 1,536',
  ]


@pytest.mark.parametrize('flags, lines', [
  (
    ('task.name=copy', 'model.form=encoder_decoder', 'model.encoder=alibi', 'model.cross=t5'),
    ['encoding   rope(base=', 'encoder    alibi(', 'cross      t5(buckets=32'],
  ),
  (
    ('encoding.layers=nope', 'model.layer=gru'),
    ['encoding   nope()', 'attention  none: the layers are gru cells'],
  ),
])
def test_a_run_begins_with_the_encodings_of_all_stacks(flags, lines):
  name = 'nope' if 'model.layer=gru' in flags else 'rope'
  config, _, _ = config_lib.load(name, [f'--config.{flag}' for flag in flags])
  setup = state.setup(config)
  data = types.SimpleNamespace(name='data')
  printed = run_summary.banner(setup, 'name', data, 'runs/x').split('\n')
  for line in lines:
    assert any(each.startswith(line) for each in printed), printed
