"""Returning to a run: from its folder alone, with other settings, or to start another run."""

import contextlib
import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest

from posjax import checkpoint, data, evaluate, main, run_summary, state, train, warm_start
from posjax import config as config_lib
from posjax import run as run_lib
from posjax.config import identity
from posjax.data.tokenizer import BYTES
from posjax.errors import UserError
from tests.support import text
from tests.test_train import SMALL, lines, small


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  path = tmp_path_factory.mktemp('corpus') / 'numbers.txt'
  path.write_text('\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800)))
  return path


@pytest.fixture(scope='module')
def whole(corpus, tmp_path_factory):
  """The folder of a run of RoPE after step 8, as train.run leaves it; read-only."""
  workdir = tmp_path_factory.mktemp('runs') / 'whole'
  config = small(corpus)
  setup, order = state.setup(config), dict(length=16, batch=8, seed=0)
  opened, batches = setup.open(), text.batches(data.load(**state.source(config)), **order)
  record = run_summary.record(config, opened, setup.shapes.params) | {
    'name': 'small',
    'data': data.fingerprint(sha256=opened.sha256, split=opened.split, **order),
  }
  with jax.set_mesh(setup.mesh), contextlib.closing(
    checkpoint.Checkpoints(workdir, 2, create=True)
  ) as checkpoints:
    last = train.first_state(setup).replace(step=np.int32(8))
    checkpoints.save(8, last, batches, record, 2.0)
  (workdir / 'evaluation.json').write_text('{"records": []}')
  return workdir


YARN = ('encoding.rope.scaling.rope_type=yarn', 'encoding.rope.scaling.factor=4')


def arguments(corpus, *settings, name='rope'):
  overrides = [f'--config.{s.format(corpus=corpus)}' for s in (*SMALL, *settings)]
  return [f'--config={name}', *overrides]


def parse(*arguments):
  return run_lib.parse(['posjax', *map(str, arguments)])


def params(workdir):
  setup = state.setup(parse(f'--workdir={workdir}').config)
  return state.read(workdir, 'newest', setup.mesh).params


def load(config, workdir):
  return state.load(state.setup(config), workdir, 'newest')


def test_the_folder_of_a_run_knows_its_config(corpus, whole):
  run, want = parse(f'--workdir={whole}'), small(corpus)
  assert run.config.to_dict() == want.to_dict() and run.config.is_locked
  assert (run.name, run.workdir) == ('small', str(whole))
  assert parse(f'--workdir={whole}', '--config.task.text.stride=4').config.task.text.stride == 4
  with pytest.raises(UserError, match=r'^--config.task.text.strid: no such key; did you mean'):
    parse(f'--workdir={whole}', '--config.task.text.strid=4')
  with pytest.raises(UserError, match=f'^{whole.parent}: no checkpoint is here; '):
    parse(f'--workdir={whole.parent}')


def test_a_key_that_is_newer_than_a_run(corpus, whole, monkeypatch):
  """It has base.py's value, which does not affect the run's identity until a user changes it."""
  schema = config_lib.base()
  get_config = schema.get_config

  def with_more(size='tiny'):
    config = get_config(size)
    config.model.novel = 0.5
    return config

  before = parse(*arguments(corpus)).name
  monkeypatch.setattr(schema, 'get_config', with_more)
  assert parse(*arguments(corpus)).name == before
  assert parse(f'--workdir={whole}').config.model.novel == 0.5
  changed = parse(*arguments(corpus, 'model.novel=0.25'))
  assert changed.name != before
  record = state.record(whole, 'newest')
  assert identity.difference(record['config'], changed.config) == {'model.novel': (None, 0.25)}


def test_an_argument_at_its_default_equals_a_missing_one(corpus):
  plain, named = small(corpus), small(corpus, 'encoding.rope.scaling.rope_type=default')
  assert identity.difference(plain, named) == {'encoding.rope.scaling.rope_type': (None, 'default')}
  short = config_lib.to_dict(plain)
  del short['encoding']['rope']['fraction']
  assert identity.difference(short, plain) == identity.difference(plain, short) == {}
  short['encoding']['rope']['base'] = 5.0
  assert identity.difference(short, plain) == {'encoding.rope.base': (5.0, 10000.0)}


@pytest.mark.slow
def test_a_run_is_evaluated_under_another_scaling(corpus, whole, tmp_path, capsys):
  """The trained length is known; the run's own results remain; a chain can be read too."""
  folder = tmp_path / 'run'
  shutil.copytree(whole, folder)
  own = (folder / 'evaluation.json').read_bytes()
  overrides = [f'--config.{setting}' for setting in YARN]
  assert main.start(parse(f'--workdir={folder}', '--mode=evaluate', *overrides)) == 0
  said = capsys.readouterr().out
  assert said.startswith(
    'read with  encoding.rope.scaling.factor=4, encoding.rope.scaling.rope_type=yarn, '
    'encoding.rope.scaling.original_max_position_embeddings=16\n'
  )
  assert (folder / 'evaluation.json').read_bytes() == own
  name = (
    '-rope.scaling.factor=4-rope.scaling.rope_type=yarn'
    '-rope.scaling.original_max_position_embeddings=16'
  )
  found = json.loads((folder / f'evaluation{name}.json').read_text())
  assert (folder / f'by_length{name}.png').exists()
  assert found['read_with'] == {
    'encoding.rope.scaling.factor': 4, 'encoding.rope.scaling.rope_type': 'yarn',
    'encoding.rope.scaling.original_max_position_embeddings': 16,
  }
  # Expect the results of the same weights under a config that has the scaling from the start.
  setup = state.setup(small(corpus, *YARN))
  with jax.set_mesh(setup.mesh):
    scorer = evaluate.Scorer(setup.task, setup.model, setup.mesh, 8 * 16, 0)
    want = evaluate.evaluate(scorer, params(whole), setup.open())
  assert found['records'] == want['records'] != json.loads(own)['records']
  chain = parse(f'--workdir={folder}', '--config.encoding.layers=temperature+rope').config
  saved = load(chain, folder)
  assert jax.tree.all(jax.tree.map(np.array_equal, saved.params['layers'], params(whole)['layers']))
  assert saved.params['encoding'] == {'temperature+rope': {}}


def test_a_run_is_read_with_another_pattern_of_windows(corpus, whole):
  """Two kinds of layers instead of one: each has the weights at its depth."""
  saved = load(small(corpus, 'model.windows=8,0'), whole)
  assert saved.read_with == {'model.windows': ((0,), (8, 0))}
  for name, block in params(whole)['layers']['block_0'].items():
    for i in range(2):
      own = saved.params['layers'][f'block_{i}'][name]
      assert jax.tree.all(jax.tree.map(lambda x, y, i=i: np.array_equal(x[0], y[i]), own, block))


def test_overrides_that_change_weights_are_refused(corpus, whole):
  for settings, said in (
    (('encoding.layers=rope+fox',), r'encoding/rope\+fox/fox/\w+ is fresh: not in the source'),
    (('encoding.layers=rope,learned', 'encoding.learned.length=32'), '/learned/table_RD is fresh'),
    (('model.hidden=96',), 'trained with another config: model.hidden 64 -> 96; restore '),
    (('seed=1',), 'trained with another config: seed 0 -> 1; restore '),
  ):
    with pytest.raises(UserError, match=f'{said}.*--config.init.run='):
      load(small(corpus, *settings), whole)


def test_a_long_override_names_a_file():
  assert run_summary.suffix({}) == ''
  assert run_summary.suffix({'encoding.rope.base': (1e4, 5.0)}) == '-rope.base=5.0'
  assert run_summary.suffix({'data.corpus': ('', 'text:a/b')}) == '-data.corpus=text_a_b'
  long = {f'encoding.rope.scaling.short_factor{i}': (None, (1.0, 2.0)) for i in range(9)}
  assert len(run_summary.suffix(long)) == 160
  other = long | {'encoding.rope.scaling.short_factor8': (None, (1.0, 3.0))}
  assert run_summary.suffix(long) != run_summary.suffix(other)


@pytest.mark.slow
def test_a_run_starts_from_another(corpus, whole, tmp_path, capsys):
  """From rope to rope+fox: copies all but the gates, and resumes after its source is deleted."""
  source = tmp_path / 'source'
  shutil.copytree(whole, source)
  settings = (
    'encoding.layers=rope+fox', f'init.run={source}', 'train.steps=2', 'optimizer.warmup=1',
    'checkpoint.every=1',
  )
  line = arguments(corpus, *settings, name='fox')
  run = parse(*line)
  assert re.fullmatch(r'[0-9a-f]{12}', run.config.init.source)
  moved = parse(*arguments(corpus, *settings[:1], f'init.run={whole}', *settings[2:], name='fox'))
  assert run.name == moved.name != parse(*arguments(corpus, *settings[:1], name='fox')).name
  seen = {}
  monkey = train.loop
  train.loop = lambda context, state, step: seen.update(state=jax.device_get(state)) or monkey(
    context, state, step
  )
  try:
    main.start(run._replace(workdir=str(tmp_path / 'new')))
  finally:
    train.loop = monkey
  said = capsys.readouterr().out
  assert f'weights    from {source}, step 8\n' in said
  assert re.search(r'\n  table_VD +taken\n', said)
  assert len(re.findall(r'\n  encoding/rope\+fox/fox/\S+ +fresh: not in the source', said)) == 2
  old, new = params(whole), seen['state']
  for name in ('layers', 'table_VD', 'norm'):
    assert jax.tree.all(jax.tree.map(np.array_equal, new.params[name], old[name]))
  assert int(new.step) == 0 and not any(np.any(x) for x in jax.tree.leaves(new.opt_state))
  shutil.rmtree(source)
  shutil.rmtree(tmp_path / 'new/checkpoints/2')
  before = lines(tmp_path / 'new')
  main.start(parse(f'--workdir={tmp_path / "new"}'))
  assert 'resuming after step 1\n' in capsys.readouterr().out and lines(tmp_path / 'new') == before
  with pytest.raises(UserError, match='no checkpoint is here'):
    parse(*line)


@pytest.mark.slow
def test_frozen_weights_stay_and_have_no_moments(corpus, whole, tmp_path):
  frozen = 'table_VD,layers/*/mlp/*'
  config = parse(*arguments(corpus, f'init.run={whole}', f'init.frozen={frozen}')).config
  train.run(config, tmp_path, name='frozen', import_seconds=0.0, command='command')
  old, new = params(whole), params(tmp_path)
  same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), old, new)
  named = jax.tree_util.tree_map_with_path(
    lambda path, _: path[0].key == 'table_VD' or 'mlp' in [key.key for key in path], old
  )
  assert same == named
  opt_state = state.setup(config).shapes.opt_state
  assert sum(x.size for x in jax.tree.leaves(opt_state)) < 1.2 * sum(
    2 * x.size for x, kept in zip(
      jax.tree.leaves(old), jax.tree.leaves(named), strict=True
    ) if not kept
  )


def test_invalid_starts_are_refused(corpus, whole, tmp_path):
  check = lambda *settings: parse(*arguments(corpus, *settings))
  with pytest.raises(UserError, match='^init.frozen = a: it needs init.run, the run to start from'):
    check('init.frozen=a')
  with pytest.raises(UserError, match='^init.checkpoint=last: it must be newest, best or a step'):
    check(f'init.run={whole}', 'init.checkpoint=last')
  with pytest.raises(UserError, match='no checkpoint is here'):
    check(f'init.run={tmp_path}')
  config = check(f'init.run={whole}', 'init.fresh=table_VDD').config
  setup = state.setup(config)
  model, mesh, weights = setup.model, setup.mesh, setup.shapes.params
  with pytest.raises(UserError, match='no weight is called table_VDD; did you mean table_VD?'):
    warm_start.check(config.init, model, weights)
  config = check(f'init.run={whole}', 'init.frozen=*').config
  with pytest.raises(UserError, match='no weight is left to train'):
    warm_start.check(config.init, model, weights)
  config = check(f'init.run={whole}', 'init.fresh=*').config
  with pytest.raises(UserError, match='it has no weight for this model: .* is fresh: init.fresh'):
    warm_start.take(config.init, BYTES, model, mesh, weights)
  config = check(f'init.run={whole}', 'init.source=0123456789ab').config
  with pytest.raises(UserError, match='checkpoint 8 does not have the digest 0123456789ab'):
    warm_start.take(config.init, BYTES, model, mesh, weights)
  config = check(f'init.run={whole}').config
  other = dataclasses.replace(BYTES, name='other.json', sha256='0')
  with pytest.raises(UserError, match='its tokenizer is another than other.json'):
    warm_start.take(config.init, other, model, mesh, weights)
