"""Mistakes: one line that names the nearest valid choice, exit code 2, and nothing was created."""

import pytest

from tests.support.launch import RUN, WHERE

OFFLINE = {  # the flags that differ from RUN: what the line must name
  ('--tpu=v5e-16',): 'v5litepod-16',
  ('--tpu=v5litepod-17',): 'v5litepod-16',
  ('--tpu=v5litepod-100',): 'v5litepod-128',
  ('--tpu=v6-32',): 'v6e-32',
  ('--tpu=v5p-12',): 'v5p-8',
  ('--tpu=tpu',): '-tpu',
  ('--tpu=',): '--tpu=v5litepod-16',
  ('--zone=us-central1',): 'us-central1-a',
  ('--zone=us-west4-A',): 'us-west4-a',
  ('--zone=',): '--zone=us-central1-a',
  ('--project=',): '--project=my-project',
  ('--image=v2-alpha-tpuv5',): 'v2-alpha-tpuv5-lite',
  ('--bucket=',): '--bucket=gs://my-bucket',
  ('--bucket=gs://My_Bucket',): 'gs://my-bucket',
  ('--bucket=gs://my-bucket/folder',): 'gs://my-bucket',
  ('--config=configs/rop.py',): 'configs/rope.py',
  ('--config=',): '--config=configs/rope.py',
  ('--name=Fox_1',): 'fox-1',
  ('--spot', '--reserved'): 'choose one',
  ('--direct', '--flex-start'): 'use the queue',
  ('--direct', '--slices=2'): 'leave it out',
  ('--max-run=3d',): 'only with --flex-start',
  ('--slices=two',): '--slices=2',
  ('--attempts=0',): '--attempts=5',
  ('--spott',): '--spot',
  ('--all-mine',): 'only with down',
  ('--config.train.steps=1',): 'after --',
  ('rope',): '--NAME=VALUE',
  ('--', '--workdir=here'): '--bucket= and --name=',
}


def refused(launch, *named):
  assert launch.err.count('\n') == 1 and launch.err.startswith('launch_tpu.sh: ')
  for words in named:
    assert words in launch.err


@pytest.mark.parametrize('flags', OFFLINE, ids=' '.join)
def test_a_mistake_on_the_command_line(launch, flags):
  named = ('--name=x',) if flags in {('--config=',)} else ()
  assert launch('all', *RUN, *named, *flags) == 2
  refused(launch, OFFLINE[flags])
  assert launch.calls() == []


def test_a_mistyped_command(launch):
  assert launch('al', *RUN) == 2
  refused(launch, 'did you mean all?')


def test_help(launch):
  assert launch('--help') == 0 and 'Exit codes: 0 done;' in launch.out


def test_gcloud_is_not_installed(offline):
  assert offline('all', *RUN) == 2
  refused(offline, 'gcloud is not installed: https://')


ONLINE = {  # what Google answers: what the line must name
  'bucket': (['1 '], 'gs://my-bucket cannot be read', 'bucket failed'),
  'bucket ': (['0 EUROPE-WEST4'], 'is in europe-west4', 'choose a bucket in us-west4'),
  'type': (['1 '], '--tpu=v5litepod-16 is not offered in --zone=us-west4-a', 'type failed'),
  'image': (['1 '], '--image=v2-alpha-tpuv5-lite is not offered', 'image failed'),
}


@pytest.mark.parametrize('verb', ONLINE)
def test_a_mistake_that_google_knows(launch, verb):
  answer, *named = ONLINE[verb]
  verb = verb.strip()
  launch.answers(verb, *answer)
  assert launch('all', *RUN) == 2
  refused(launch, *named)
  order = ['bucket', 'type', 'image']
  assert launch.calls() == order[:order.index(verb) + 1]


@pytest.mark.parametrize('location', ['US', 'NAM4'])
def test_a_bucket_of_several_regions_is_a_warning(launch, location):
  launch.answers('bucket', f'0 {location}')
  assert launch('up', *RUN) == 0
  assert f'# warning: gs://my-bucket is in {location.lower()}' in launch.out


def test_a_zone_that_the_table_lacks_is_a_warning(launch):
  """Zones come and go: Google decides."""
  launch.answers('bucket', '0 EUROPE-NORTH1')
  assert launch('up', *RUN, '--zone=europe-north1-a') == 0
  assert '# warning: the table of ' in launch.out and 'us-central1-a' in launch.out


def test_variables_stand_for_flags(launch):
  launch.env |= {
    'POSJAX_TPU': 'v5litepod-16', 'POSJAX_ZONE': 'us-west4-a', 'POSJAX_PROJECT': 'my-project',
    'POSJAX_BUCKET': 'gs://my-bucket',
  }
  assert launch('up', '--config=configs/rope.py') == 0
  (create,) = launch.arguments('create')
  assert set(WHERE) | {'--accelerator-type=v5litepod-16'} <= set(create)
