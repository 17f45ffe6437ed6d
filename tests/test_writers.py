"""Writers of metrics: their inputs, and the files and calls that they produce."""

import sys
import types
from unittest import mock

import pytest
from tensorboardX.proto.event_pb2 import Event

from posjax import config as config_lib
from posjax import metrics, writers
from posjax.errors import UserError


def open_all(names, workdir, start):
  config, _, _ = config_lib.load('rope')
  return writers.open_all(names, config_lib.to_dict(config), workdir, start)


def write(workdir, start, **values):
  opened = open_all(('tensorboard',), workdir, start)
  opened[0].write(start + 1, values)
  opened[0].close()
  return opened


def test_tensorboard_hides_lines_of_an_interrupted_run(tmp_path):
  """The second file begins with a mark at step 4: TensorBoard drops later steps of the first."""
  for start in (0, 3):
    [writer] = write(tmp_path, start, loss=0.25)
    assert writer.hint == f'tensorboard --logdir={tmp_path}/tensorboard'
    newest = max((tmp_path / 'tensorboard').iterdir(), key=lambda path: path.stat().st_mtime_ns)
    version, begins, scalars = events(newest)
    assert version.file_version == 'brain.Event:2'
    assert (begins.step, begins.session_log.status) == (start + 1, 1)
    assert scalars.step == start + 1
    assert {v.tag: v.simple_value for v in scalars.summary.value} == {'loss': 0.25}
    newest.rename(newest.with_name(str(start)))


def events(path):
  """Returns a TensorBoard file's records: each is length, 4-byte checksum, data, checksum."""
  content = path.read_bytes()
  while content:
    length = int.from_bytes(content[:8], 'little')
    yield Event.FromString(content[12 : 12 + length])
    content = content[16 + length :]


def test_weights_and_biases_continues_the_run_of_a_folder(tmp_path, monkeypatch):
  run = mock.Mock(url='https://wandb.ai/me/posjax/runs/1')
  module = types.SimpleNamespace(init=mock.Mock(return_value=run), Error=KeyError)
  monkeypatch.setitem(sys.modules, 'wandb', module)
  for name in ('rope-tiny', 'rope-tiny', 'alibi-tiny'):
    [writer] = open_all(('wandb',), tmp_path / name, 2)
    assert writer.hint == run.url
  first, again, other = [call.kwargs for call in module.init.call_args_list]
  assert first == again and first['id'] != other['id'] and first['resume'] == 'allow'
  assert (first['project'], first['name']) == ('posjax', 'rope-tiny')
  assert first['config']['encoding']['layers'] == ['rope']
  writer.write(3, {'loss': 0.25})
  writer.close()
  assert run.mock_calls == [mock.call.log({'loss': 0.25}, step=3), mock.call.finish()]


def test_weights_and_biases_without_a_login_is_one_line(tmp_path, monkeypatch):
  module = types.SimpleNamespace(init=mock.Mock(side_effect=KeyError('no\nkey')), Error=KeyError)
  monkeypatch.setitem(sys.modules, 'wandb', module)
  with pytest.raises(UserError, match=r"^writers = wandb: 'no\\nkey'; WANDB_MODE=offline needs"):
    open_all(('wandb',), tmp_path, 0)


def test_a_writer_that_is_not_installed_is_one_line(monkeypatch):
  monkeypatch.setattr(writers.importlib.util, 'find_spec', {'tensorboardX': True}.get)
  writers.check_installed(('tensorboard',))
  with pytest.raises(UserError) as refused:
    writers.check_installed(('tensorboard', 'wandb'))
  assert str(refused.value) == (
    'writers = wandb: it is not installed; in the folder of setup.py, run: '
    "pip install -e '.[wandb]'"
  )


def test_writers_get_the_contents_of_both_files(tmp_path):
  writer = mock.Mock()
  settings = dict(start=0, steps=2, tokens_per_step=10)
  log = metrics.Log(tmp_path, metrics.Clock(), **settings, writers=[writer])
  log.write(1, {'loss': 0.5, 'skipped': 0, 'gave_up': 0})
  log.close()
  (step, values), _ = writer.write.call_args
  assert step == 1
  assert values.keys() == {'loss', 'skipped', 'seconds', 'tokens', 'tokens_per_second'}
  writer.close.assert_called_once_with()
