"""Checkpoints: corruption is detected; intact ones are restored bit for bit, on any mesh."""

import contextlib
import errno
import gc
import os
import shutil
from unittest import mock

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from posjax import checkpoint
from posjax.checkpoint import Checkpoints, CorruptCheckpoint
from posjax.errors import UserError
from posjax.runtime import checksum
from tests.support.meshes import mesh_of

RECORD = {'config': {'seed': 0, 'model': {'windows': [0, 8]}}, 'corpus': 'ä'}


def first_state():
  rng = np.random.default_rng(0)
  return {
    'table_VD': rng.standard_normal((24, 16), np.float32), 'step': np.int32(7),
    'slope_N': rng.standard_normal(8, np.float32),
  }


def batches():
  import grain

  return iter(grain.MapDataset.range(1000).seed(0).shuffle().repeat().to_iter_dataset().batch(4))


def like(state, mesh_shape=(1, 1, 1)):
  """Returns the restore target of `state` on a mesh: rows of matrices sharded over all devices."""
  mesh = mesh_of(*mesh_shape)
  axes = {'table_VD': PartitionSpec(('data', 'fsdp'), 'tensor'), 'slope_N': PartitionSpec('tensor')}
  return {
    name: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=NamedSharding(mesh, axes.get(name, PartitionSpec()))
    )
    for name, x in state.items()
  }


def put(state, mesh_shape=(1, 1, 1)):
  places = like(state, mesh_shape)
  return {name: jax.device_put(x, places[name].sharding) for name, x in state.items()}


def suffix_sum(state, step):
  """Returns the state after `step`, with all numbers different."""
  return {name: x + np.asarray(step, x.dtype) for name, x in state.items()}


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A work directory with the checkpoints 4 and 8; read-only."""
  workdir = tmp_path_factory.mktemp('saved') / 'run'
  iterator = batches()
  with contextlib.closing(Checkpoints(workdir, 2, create=True)) as checkpoints:
    for step in (4, 8):
      next(iterator)
      checkpoints.save(step, put(suffix_sum(first_state(), step)), iterator, RECORD, 1 / step)
  return workdir


def find(checkpoints, which, *arguments, **keywords):
  """Restores the checkpoint that `which` names."""
  return checkpoints.find(which, lambda step: checkpoints.restore(step, *arguments, **keywords))


def restore(workdir, mesh=(1, 1, 1), check=lambda record: None):
  """Restores the newest checkpoint; returns it and the iterator's next numbers."""
  iterator = batches()
  with contextlib.closing(Checkpoints(workdir, 2)) as checkpoints:
    restored = find(checkpoints, 'newest', like(first_state(), mesh), iterator, check=check)
  return restored, next(iterator)


def assert_whole(restored, numbers):
  """Asserts that `restored` equals the saved state of its step bit for bit."""
  for name, x in suffix_sum(first_state(), restored.step).items():
    np.testing.assert_array_equal(np.asarray(restored.state[name]), x)
  assert restored.record['validation_loss'] == 1 / restored.step
  assert {key: restored.record[key] for key in RECORD} == RECORD
  iterator = batches()
  for _ in range(restored.step // 4):
    next(iterator)
  np.testing.assert_array_equal(numbers, next(iterator))


def flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0x10
  path.write_bytes(content)


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(path):
  path.unlink()


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # Orbax's threads
@pytest.mark.parametrize('injure', [
  flip, pytest.param(truncate, marks=pytest.mark.slow), pytest.param(remove, marks=pytest.mark.slow)
])
def test_damage_to_any_file_is_harmless_or_detected(saved, tmp_path, injure, capsys):
  """Damages each file of the newest checkpoint: restoring ignores it or uses the one before."""
  passed_over = []
  files = [path.relative_to(saved) for path in (saved / 'checkpoints/8').rglob('*')]
  for file in sorted(file for file in files if (saved / file).is_file()):
    shutil.rmtree(tmp_path / 'run', ignore_errors=True)
    shutil.copytree(saved, tmp_path / 'run')
    injure(tmp_path / 'run' / file)
    restored, numbers = restore(tmp_path / 'run')
    assert_whole(restored, numbers)
    said = capsys.readouterr().err
    assert restored.step == (4 if said else 8)
    if said:
      assert said.startswith('skipping checkpoint 8: ') and said.count('\n') == 1
      passed_over.append(str(file.relative_to('checkpoints/8')))
  gc.collect()  # unfinished work of Orbax warns here
  assert 'record/metadata' in passed_over
  assert any(file.startswith('state/') and '/d/' in file for file in passed_over)


@pytest.mark.parametrize('name', ['99', '8', 'notes', '4.orbax-checkpoint-tmp'])
def test_invalid_checkpoints_are_skipped_and_kept(saved, tmp_path, name, capsys):
  """An empty directory, one with foreign files, one without a number, an interrupted save."""
  shutil.copytree(saved, tmp_path / 'run')
  folder = tmp_path / 'run/checkpoints' / name
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  if name != '99':
    (folder / 'mine.txt').write_text('mine')
  restored, numbers = restore(tmp_path / 'run')
  assert_whole(restored, numbers)
  assert restored.step == (4 if name == '8' else 8)
  assert ('skipping' in capsys.readouterr().err) == name.isdecimal()
  with contextlib.closing(Checkpoints(tmp_path / 'run', 2, create=True)) as checkpoints:
    checkpoints.quarantine(restored.step)
    assert checkpoints.steps() == ([4] if name == '8' else [4, 8])
    for step in (12, 16, 20, 24):
      checkpoints.save(step, put(suffix_sum(first_state(), step)), batches(), RECORD, 1.0)
  kept = {path.name for path in (tmp_path / 'run/checkpoints').iterdir()}
  best = '4' if name == '8' else '8'
  assert kept == {'20', '24', best} | ({name} if name == 'notes' else set())
  if name.isdecimal():
    assert {*(tmp_path / 'run/quarantine').iterdir()} == {tmp_path / 'run/quarantine' / name}
  if name in ('8', 'notes'):
    place = 'quarantine' if name == '8' else 'checkpoints'
    assert (tmp_path / 'run' / place / name / 'mine.txt').read_text() == 'mine'


def test_folder_names_that_orbax_would_not_write_are_not_steps(saved, tmp_path):
  shutil.copytree(saved, tmp_path / 'run')
  for name in ('010', '+12', '1_2', '\N{ARABIC-INDIC DIGIT NINE}', '9.5'):
    (tmp_path / 'run/checkpoints' / name).mkdir()
  assert Checkpoints(tmp_path / 'run', 2).steps() == [4, 8]


@pytest.mark.parametrize('keep, kept', [(1, ['4', '10']), (2, ['4', '9', '10'])])
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_quarantined_checkpoints_do_not_count_as_newest_or_best(saved, tmp_path, keep, kept):
  """Checkpoint 8, recorded as newest and best, lacks a file of weights."""
  shutil.copytree(saved, tmp_path / 'run')
  files = (tmp_path / 'run/checkpoints/8').glob('state/**/d/*')
  max(files, key=lambda path: path.stat().st_size).unlink()
  target, anything = like(first_state()), lambda record: None
  with contextlib.closing(Checkpoints(tmp_path / 'run', keep, create=True)) as checkpoints:
    assert find(checkpoints, 'newest', target, check=anything).step == 4
    gc.collect()
    checkpoints.quarantine(4)
    assert checkpoints.newest() == 4
    for step in (5, 9, 10):
      checkpoints.save(step, put(suffix_sum(first_state(), step)), batches(), RECORD, 1.0)
    checkpoints.wait()
    assert checkpoints.newest() == 10
    assert find(checkpoints, 'best', target, check=anything).step == 4
  assert sorted(map(int, kept)) == Checkpoints(tmp_path / 'run', keep).steps()


def test_temporary_errors_are_not_corruption():
  for error in (MemoryError(), OSError(errno.EMFILE, 'Too many open files')):
    with pytest.raises(type(error)), checkpoint.reading('its arrays'):
      raise error
  text = "UNAVAILABLE: Error reading: Too many open files [os_error_code='24' source locations=…"
  with pytest.raises(OSError, match='Too many open files'), checkpoint.reading('its arrays'):
    raise ValueError(text)
  with pytest.raises(CorruptCheckpoint), checkpoint.reading('its arrays'):
    raise FileNotFoundError(errno.ENOENT, 'No such file or directory')


@pytest.mark.parametrize('item, why', [
  ('state', "checksum mismatch in its array ['slope_N']"),
  ('record', "checksum mismatch in its array ['slope_N']"),
])
def test_a_part_of_another_checkpoint_is_corruption(saved, tmp_path, item, why, capsys):
  """The part is intact, but was not saved with the rest."""
  shutil.copytree(saved, tmp_path / 'run')
  shutil.rmtree(tmp_path / 'run/checkpoints/8' / item)
  shutil.copytree(saved / 'checkpoints/4' / item, tmp_path / 'run/checkpoints/8' / item)
  restored, numbers = restore(tmp_path / 'run')
  assert restored.step == 4
  assert_whole(restored, numbers)
  assert capsys.readouterr().err == f'skipping checkpoint 8: {why}\n'


def test_an_edited_record_is_corruption(saved, tmp_path, capsys):
  shutil.copytree(saved, tmp_path / 'run')
  path = tmp_path / 'run/checkpoints/8/record/metadata'
  edited = path.read_text().replace('"seed": 0', '"seed": 1')
  path.write_text(edited)
  assert '"seed": 1' in edited
  assert_whole(*restore(tmp_path / 'run'))
  why = 'checksum mismatch in its record'
  assert capsys.readouterr().err == f'skipping checkpoint 8: {why}\n'


def test_unreadable_checkpoints_are_not_deleted(saved, tmp_path):
  """It is neither among the newest nor the best, but its weights may be intact."""
  shutil.copytree(saved, tmp_path / 'run')
  flip(tmp_path / 'run/checkpoints/4/record/metadata')
  with contextlib.closing(Checkpoints(tmp_path / 'run', 1, create=True)) as checkpoints:
    for step in (9, 10):
      checkpoints.save(step, put(first_state()), batches(), RECORD, 1 / step)
  assert Checkpoints(tmp_path / 'run', 1).steps() == [4, 10]


def listing(folder):
  """Returns size and ctime of a folder and everything in it."""
  paths = [folder, *folder.rglob('*')]
  return {path: (path.stat().st_size, path.stat().st_ctime_ns) for path in paths}


def test_readers_write_nothing(saved, tmp_path):
  shutil.copytree(saved, tmp_path / 'run')
  (tmp_path / 'run/saved').unlink()
  (tmp_path / 'run/checkpoints/9.orbax-checkpoint-tmp').mkdir()  # another process may be saving it
  before = listing(tmp_path)
  restored, numbers = restore(tmp_path / 'run')
  assert_whole(restored, numbers)
  with contextlib.closing(Checkpoints(tmp_path / 'run', 1)) as checkpoints:
    for which in ('best', '4'):
      find(checkpoints, which, like(first_state()), check=lambda record: None)
  with pytest.raises(UserError, match='nothing: no checkpoint is here'):
    Checkpoints(tmp_path / 'nothing', 2)
  assert listing(tmp_path) == before


@pytest.mark.parametrize('name, strange', [
  ('[2026]/run', r'\['), ('a*?', r'\* or \?'), (os.fsdecode(b'a\xff'), 'a byte that is not UTF-8'),
])
def test_folder_names_that_break_orbax_are_refused(saved, tmp_path, name, strange):
  """Reading a folder with such a name is allowed."""
  with pytest.raises(UserError, match=f'cannot save if the name of a folder has {strange};'):
    Checkpoints(tmp_path / name, 2, create=True)
  assert not [*tmp_path.iterdir()]
  if 'byte' not in strange:
    shutil.copytree(saved, tmp_path / name)
    assert_whole(*restore(tmp_path / name))


def test_a_work_directory_that_is_deleted_while_a_run_saves(tmp_path):
  """Orbax would wait five minutes for a folder that one of its threads cannot create."""
  checkpoints = Checkpoints(tmp_path / 'run', 2, create=True)
  shutil.rmtree(tmp_path / 'run')
  with pytest.raises(UserError, match='checkpoint 4 cannot be written: No such file or directory'):
    checkpoints.save(4, put(first_state()), batches(), RECORD, 1.0)


def test_the_first_save_is_recorded(saved, tmp_path):
  shutil.copytree(saved, tmp_path / 'run')
  (tmp_path / 'run/saved').unlink()
  with contextlib.closing(Checkpoints(tmp_path / 'run', 2, create=True)) as checkpoints:
    assert checkpoints.newest() == 8
    checkpoints.save(9, put(first_state()), batches(), RECORD, 1.0)
  assert (tmp_path / 'run/saved').exists()
  with contextlib.closing(Checkpoints(tmp_path / 'new', 2, create=True)) as checkpoints:
    checkpoints._manager.save = mock.Mock(side_effect=OSError(errno.EFBIG, 'File too large'))
    with pytest.raises(UserError, match='4 cannot be written: File too large; .* is none;'):
      checkpoints.save(4, put(first_state()), batches(), RECORD, 1.0)
  assert not (tmp_path / 'new/saved').exists()


def test_quarantine_keeps_folders_of_equal_names(saved, tmp_path):
  shutil.copytree(saved, tmp_path / 'run')
  for number in range(3):
    (tmp_path / 'run/checkpoints/9').mkdir()
    (tmp_path / 'run/checkpoints/9' / str(number)).touch()
    with contextlib.closing(Checkpoints(tmp_path / 'run', 2, create=True)) as checkpoints:
      checkpoints.quarantine(8)
  aside = tmp_path / 'run/quarantine'
  assert {path.name: [*path.iterdir()][0].name for path in aside.iterdir()} == {
    '9': '0', '9.1': '1', '9.2': '2',
  }


def test_every_checkpoint_is_corrupt(saved, tmp_path):
  shutil.copytree(saved, tmp_path / 'run')
  flip(tmp_path / 'run/checkpoints/4/record/metadata')
  remove(tmp_path / 'run/checkpoints/8/record/metadata')
  with pytest.raises(UserError, match=r'every checkpoint is corrupt; .*: 8: \w.*; 4: \w') as error:
    restore(tmp_path / 'run')
  assert '\n' not in str(error.value)
  assert {path.name for path in (tmp_path / 'run/checkpoints').iterdir()} == {'4', '8'}


def test_another_plan_is_not_corruption(saved):
  """The older checkpoint has the same plan, so it is not tried."""
  seen = []

  def check(record):
    seen.append(record['validation_loss'])
    raise UserError('seed 0 -> 1')

  with pytest.raises(UserError, match='seed 0 -> 1'):
    restore(saved, check=check)
  assert seen == [1 / 8]


def test_a_corrupt_checkpoint_named_explicitly_is_an_error(saved, tmp_path):
  shutil.copytree(saved, tmp_path / 'run')
  arrays = (tmp_path / 'run/checkpoints/8/state').rglob('*')
  flip(max((path for path in arrays if path.is_file()), key=lambda path: path.stat().st_size))
  target = like(first_state())
  with contextlib.closing(Checkpoints(tmp_path / 'run', 2)) as checkpoints:
    check = lambda record: None
    assert find(checkpoints, '4', target, check=check).step == 4
    for which in ('best', '8'):
      with pytest.raises(UserError, match=f'--checkpoint={which}: step 8 is corrupt: '):
        find(checkpoints, which, target, check=check)
    with pytest.raises(UserError, match='--checkpoint=5: .* saved steps are 4, 8;'):
      find(checkpoints, '5', target, check=check)


@pytest.mark.parametrize('old, new', [
  ((8, 1, 1), (1, 1, 1)), ((1, 1, 1), (4, 1, 1)), ((4, 2, 1), (2, 4, 1)), ((2, 2, 2), (1, 4, 2)),
])
def test_a_checkpoint_restores_on_another_mesh(tmp_path, old, new):
  iterator = batches()
  next(iterator)
  with contextlib.closing(Checkpoints(tmp_path, 2, create=True)) as checkpoints:
    checkpoints.save(4, put(suffix_sum(first_state(), 4), old), iterator, RECORD, 1 / 4)
  restored, numbers = restore(tmp_path, new)
  assert_whole(restored, numbers)
  for name, target in like(first_state(), new).items():
    assert restored.state[name].sharding == target.sharding


def test_checksums_detect_changed_and_swapped_numbers():
  sums = checksum.of_arrays
  x = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
  before = int(sums({'x': x})["['x']"])
  seen = {before}
  for index in np.ndindex(x.shape):
    for bit in (0, 13, 31):
      other = x.copy()
      other.view(np.uint32)[index] ^= np.uint32(1) << np.uint32(bit)
      seen.add(int(sums({'x': other})["['x']"]))
  assert len(seen) == 1 + 60 * 3
  for i, j in [(0, 1), (0, 59), (7, 12)]:
    other = x.copy().reshape(-1)
    other[[i, j]] = other[[j, i]]
    seen.add(int(sums({'x': other.reshape(x.shape)})["['x']"]))
  assert len(seen) == 1 + 60 * 3 + 3


def test_checksums_do_not_depend_on_the_mesh():
  state = first_state()
  want = jax.device_get(checksum.of_arrays(put(state)))
  for mesh in ((8, 1, 1), (2, 2, 2), (1, 1, 8)):
    assert jax.device_get(checksum.of_arrays(put(state, mesh))) == want


def test_running_out_of_memory_is_not_corruption():
  error = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')
  with pytest.raises(jax.errors.JaxRuntimeError), checkpoint.reading('its arrays'):
    raise error
  with (
    pytest.raises(CorruptCheckpoint, match=r'^its arrays cannot be read \(ValueError: one line\)$'),
    checkpoint.reading('its arrays'),
  ):
    raise ValueError('one\n  line')
