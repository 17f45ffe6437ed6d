"""Runs in a bucket: the lock, refusals, and whole runs against a local fake of Cloud Storage."""

import contextlib
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from posjax.errors import UserError
from posjax.runtime import hosts, remote
from tests.support.lab import Lab

WORKDIR = 'gs://posjax-test/run'
SHORT = ('train.steps=60', 'checkpoint.every=10')
# A lease of a minute would be waited for after the kill.
PROGRAM = (
  'import sys; from posjax.runtime import program, remote; program.begin(); remote.LEASE = 2; '
  'sys.unraisablehook = lambda _: None; '
  'from absl import app; from posjax.main import keep_argv, main; '
  'app.run(main, flags_parser=keep_argv)'
)


@pytest.fixture
def store(monkeypatch):
  import tensorstore

  store = tensorstore.KvStore.open('memory://bucket/').result()
  monkeypatch.setattr(remote, 'bucket', lambda workdir: store)
  monkeypatch.setattr(remote, 'LEASE', 0.4)
  return store


def test_a_second_run_is_refused_while_the_first_renews_its_lock(store):
  with remote.held(WORKDIR):
    first = remote.holder(WORKDIR)
    assert first.startswith(f'process {os.getpid()} on ')
    with pytest.raises(UserError, match=re.escape(f'{first} is training here')), \
        remote.held(WORKDIR):
      pass
    assert remote.holder(WORKDIR) == first
  assert remote.holder(WORKDIR) == 'missing'


def test_the_lock_of_a_dead_run_is_taken_after_the_lease(store, capsys):
  store.write('lock', b'process 1 on gone').result()
  begun = time.monotonic()
  with remote.held(WORKDIR):
    assert time.monotonic() - begun >= remote.LEASE
    assert f'process {os.getpid()} on ' in remote.holder(WORKDIR)
  assert 'locked by process 1 on gone: waiting 0.4 s' in capsys.readouterr().out


def test_of_two_runs_that_start_together_one_is_refused(store, monkeypatch):
  """The other run writes its lock between this one's read and its write."""
  store.write('lock', b'process 1 on gone').result()
  monkeypatch.setattr(time, 'sleep', lambda _: store.write('lock', b'process 2 on other').result())
  with pytest.raises(UserError, match='process 2 on other is training here'):
    remote.take(store, WORKDIR, 'process 3')
  assert remote.holder(WORKDIR) == 'process 2 on other'


def test_a_run_whose_lock_was_taken_ends(store, monkeypatch):
  left = []

  def leave(*said):
    left.append(said)
    raise ValueError  # the real one does not return

  monkeypatch.setattr(hosts, 'leave_alone', leave)
  with remote.held(WORKDIR):
    store.write('lock', b'process 2 on other').result()
    while not left:
      time.sleep(0.01)
  assert left[0] == (2, f'{WORKDIR}: process 2 on other has taken over this run')
  assert remote.holder(WORKDIR) == 'process 2 on other'  # it is not deleted


def test_a_renewal_whose_answer_was_lost_does_not_end_the_run(store, monkeypatch):
  left = []
  monkeypatch.setattr(hosts, 'leave_alone', lambda *said: left.append(said))
  with remote.held(WORKDIR):
    repeated = store.write('lock', remote.holder(WORKDIR).encode()).result().generation
    while store.read('lock').result().stamp.generation == repeated:
      time.sleep(0.01)  # until the next renewal
    assert not left
  assert remote.holder(WORKDIR) == 'missing'


@pytest.mark.parametrize('check, value, said', [
  (remote.check, 's3://b/run', 'k=s3://b/run: must be a local folder; mount it, or choose another'),
  (remote.check, 'file:///tmp/run', 'k=file:///tmp/run: must be a local folder, such as /tmp/run'),
  (remote.check_corpus, 'text:s3://b/*.txt', 'k=text:s3://b/*.txt: must be a local folder; mount'),
  (remote.check_corpus, 'tfds:gs://b/set', 'k=tfds:gs://b/set: must be a local folder; mount it'),
  (remote.check, 'gs:///etc', 'k=gs:///etc: must be gs://BUCKET/PATH, without empty parts'),
  (remote.check, 'gs://b/../../x', 'k=gs://b/../../x: must be gs://BUCKET/PATH, without empty'),
  (remote.check, 'gs://', 'k=gs://: must be gs://BUCKET/PATH, without empty parts'),
  (remote.check, 'gs://b/run', 'k=gs://b/run: gcsfs is not installed; in the folder of setup.py'),
  (remote.check_corpus, 'text:gs://b/*', 'k=gs://b/*: gcsfs is not installed; in the folder of '),
])
def test_refusals_are_one_line(check, value, said, monkeypatch):
  monkeypatch.setattr(remote.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError) as raised:
    check('k', value)
  assert str(raised.value).startswith(said) and '\n' not in str(raised.value)


def test_an_unreachable_bucket_is_one_line():
  with pytest.raises(UserError) as raised, remote.reaching('gs://b/run'):
    raise ConnectionError('no\n  route')
  assert str(raised.value).startswith('gs://b/run cannot be reached: no route; check the name of ')


def test_local_paths_stay_as_they_are(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('1\n')
  for workdir in (str(tmp_path), tmp_path, 'runs/x'):
    remote.check('--workdir', str(workdir))
    files = remote.Files(workdir)
    files.fetch()
    files.upload()
    assert files.local is workdir
  assert (tmp_path / 'metrics.jsonl').read_text() == '1\n'
  assert remote.path('runs/x') == pathlib.Path('runs/x').absolute()
  assert remote.fetch_corpus('text:a/*.txt') == 'text:a/*.txt'


@pytest.fixture(scope='module')
def fake():
  """Yields (the file system of a fake of Cloud Storage, the environment that names the fake)."""
  server_of = pytest.importorskip('gcp_storage_emulator.server')
  gcsfs = pytest.importorskip('gcsfs')
  from gcp_storage_emulator.handlers import objects

  with contextlib.ExitStack() as stack:
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(objects, '_media_upload', conditional(objects._media_upload))
    patch.setattr(objects, 'download', with_generation(objects.download))
    patch.setattr(http.server.HTTPServer, 'handle_error', lambda *_: None)  # a killed client
    patch.setattr(http.server.HTTPServer, 'request_queue_size', 100)
    server = stack.enter_context(
      server_of.create_server('localhost', 0, in_memory=True, default_bucket='posjax-test')
    )
    url = f'http://localhost:{server._api._httpd.server_port}'
    yield gcsfs.core.GCSFileSystem(
      endpoint_url=url, token='anon', use_listings_cache=False, skip_instance_cache=True
    ), {
      'STORAGE_EMULATOR_HOST': url, 'TENSORSTORE_GCS_HTTP_URL': url, 'NO_GCE_CHECK': 'true',
      # Of gcsfs: it would ask by gRPC, which the fake lacks, whether a bucket has folders.
      'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
    }


def generation(request, storage, name):
  """Returns the generation of an object of the fake as text; '0' if there is no such object."""
  from gcp_storage_emulator.exceptions import NotFound

  try:
    return storage.get_file_obj(request.params['bucket_name'], name)['generation']
  except NotFound:
    return '0'


def conditional(upload):
  """Adds what the fake lacks: an upload fails unless the object has the expected generation."""

  def checked(request, response, storage):
    found = generation(request, storage, request.query['name'][0])
    if request.query.get('ifGenerationMatch', [found]) == [found]:
      return upload(request, response, storage)
    response.status = http.HTTPStatus.PRECONDITION_FAILED

  return checked


def with_generation(download):
  """Adds what the fake lacks: the header that tells an object's generation."""

  def told(request, response, storage, *args, **kwargs):
    response['x-goog-generation'] = generation(request, storage, request.params['object_id'])
    download(request, response, storage, *args, **kwargs)

  return told


@pytest.fixture(scope='module')
def bench(fake, tmp_path_factory):
  """Yields (lab, run): `run` starts the program with a work directory in the bucket."""
  lab = Lab(tmp_path_factory.mktemp('remote'))
  lab.environment = lab.environment | fake[1]
  fake[0].put_file(str(lab.corpus), 'posjax-test/texts/numbers.txt')
  settings = lab.settings(*SHORT, 'data.corpus=text:gs://posjax-test/texts/*.txt')
  arguments = [f'--workdir={WORKDIR}', *(f'--config.{setting}' for setting in settings)]

  def run(*flags):
    return subprocess.Popen(
      [sys.executable, '-c', PROGRAM, '--config=rope', *arguments, *flags], env=lab.environment,
      cwd=lab.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )

  return lab, run


@pytest.mark.slow
def test_a_run_in_a_bucket_equals_a_local_run_after_a_kill_and_a_corrupt_checkpoint(fake, bench):
  (system, _), (lab, run) = fake, bench
  whole = lab.whole('whole', *SHORT)
  killed = run()
  complete = 'posjax-test/run/checkpoints/20/commit_success.txt'
  lab.kill(killed, lambda: time.sleep(0.2) or system.exists(complete), signal.SIGKILL)
  assert system.exists('posjax-test/run/lock')
  newest = max(
    int(name.rpartition('/')[2]) for name in system.ls('posjax-test/run/checkpoints')
    if system.exists(f'{name}/commit_success.txt')
  )
  place = f'posjax-test/run/checkpoints/{newest}/state'
  (array, *_) = sorted(system.find(f'{place}/d'), key=system.size, reverse=True)
  system.pipe(array, b'\0' * system.size(array))
  subprocess.run(['rm', '-r', lab.root / 'caches'], check=True)  # as on another machine

  resumed = run()
  said, _ = resumed.communicate(timeout=200)
  assert resumed.returncode == 0 and 'Traceback' not in said, said
  assert f'skipping checkpoint {newest}: ' in said
  assert f'checkpoint {newest} was moved to gs://posjax-test/run/quarantine/{newest}\n' in said
  assert 'resuming after step ' in said and 'is locked by process ' in said
  assert system.exists(f'posjax-test/run/quarantine/{newest}/commit_success.txt')
  assert system.exists('posjax-test/run/checkpoints/60/commit_success.txt')
  assert not system.exists('posjax-test/run/lock')

  assert system.cat('posjax-test/run/metrics.jsonl') == (whole / 'metrics.jsonl').read_bytes()
  got = json.loads(system.cat('posjax-test/run/evaluation.json'))
  want = json.loads((whole / 'evaluation.json').read_text())
  assert got['records'] == want['records'] and got['sha256'] == want['sha256']
  assert got['corpus'].startswith('text:gs://posjax-test/texts/*.txt: 1 files')
  assert system.cat('posjax-test/run/by_length.png').startswith(b'\x89PNG')

  evaluated = run('--mode=evaluate', '--checkpoint=best', '--config.encoding.rope.base=5000.0')
  said, _ = evaluated.communicate(timeout=200)
  assert evaluated.returncode == 0, said
  assert system.exists('posjax-test/run/evaluation-rope.base=5000.0.json')


@pytest.mark.slow
def test_a_corpus_is_copied_once_for_each_version(fake, monkeypatch, tmp_path):
  system, environment = fake
  for name, value in (environment | {'XDG_CACHE_HOME': str(tmp_path)}).items():
    monkeypatch.setenv(name, value)
  monkeypatch.setattr(remote, 'file_system', lambda: system)
  read = lambda: {
    path.relative_to(tmp_path / 'posjax/corpora').parts[1:]: path.read_bytes()
    for path in (tmp_path / 'posjax/corpora').rglob('*') if path.is_file()
  }
  system.pipe({f'posjax-test/docs/{name}': name.encode() for name in ('a.txt', 'b/c.txt', 'd.md')})
  first = remote.fetch_corpus('text:gs://posjax-test/docs/**/*.txt')
  assert first.startswith(f'text:{tmp_path}') and first.endswith('/posjax-test/docs/**/*.txt')
  assert read() == {
    ('posjax-test', 'docs', 'a.txt'): b'a.txt', ('posjax-test', 'docs', 'b', 'c.txt'): b'b/c.txt',
  }
  assert remote.fetch_corpus('text:gs://posjax-test/docs/**/*.txt') == first
  system.pipe('posjax-test/docs/a.txt', b'new')
  assert remote.fetch_corpus('text:gs://posjax-test/docs/**/*.txt') != first
  with pytest.raises(UserError, match='no object matches'):
    remote.fetch_corpus('text:gs://posjax-test/docs/*.none')
