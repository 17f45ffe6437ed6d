"""What is shown after a run: the command that continues a piece of its held-out text."""

import math

import pytest

from posjax import report
from posjax.data.corpus import SPLITS, Corpus
from posjax.tasks import text as text_task
from posjax.tasks.core.task import Data


@pytest.mark.parametrize('text, expected', [
  (b'One line and no other', 'One line and no othe'),
  (b'rest of a line\n\n\tif x:\n', 'if x:'),  # an excerpt may begin anywhere
  (b"\x00\x01 binary\n\x07\nit's", "it's"),
  ('\na234567890123456789ü'.encode(), 'a234567890123456789'),  # ü has bytes 19 and 20
  (b'\x00', ''),
])
def test_a_prompt_is_a_line_that_can_be_printed(text, expected):
  splits = dict.fromkeys(SPLITS, [b'no prompt']) | {'test': [text]}
  assert text_task.prompt(Corpus('memory', 1, 1, '', SPLITS, splits)) == expected


@pytest.mark.parametrize('limit, prompt, expected', [
  (None, "it's", """command --mode=generate --prompt='it'"'"'s'"""),
  (None, '', "command --mode=generate --prompt=''"),
  (300, 'x' * 20, f'command --mode=generate --prompt={"x" * 20}'),
  # A limit leaves room for BOS and the prompt, which takes half of it at most.
  (64, 'x' * 20, f'command --config.generate.tokens=43 --mode=generate --prompt={"x" * 20}'),
  (9, 'aüü', 'command --config.generate.tokens=5 --mode=generate --prompt=\'aü\''),
])
def test_the_next_command(limit, prompt, expected, tmp_path, monkeypatch, capsys):
  opened = Data('text', '', train=(), validation=None, tests={}, prompt=prompt)
  hint = text_task.Text().hint(opened, math.inf if limit is None else limit, 256)
  assert shown(hint, tmp_path, monkeypatch, capsys)[-1] == f'next:   {expected}'


def test_without_text_there_is_no_next_command(tmp_path, monkeypatch, capsys):
  assert shown('', tmp_path, monkeypatch, capsys)[-1] == 'figure: figure'


def shown(hint, workdir, monkeypatch, capsys):
  monkeypatch.setattr(report, 'table', lambda result: 'table')
  monkeypatch.setattr(report, 'save', lambda contents, workdir, suffix: 'figure')
  record = {'corpus': 'text'}
  report.finish({}, record, workdir, name='rope', step=3, command='command', hint=hint)
  return capsys.readouterr().out.splitlines()
