"""The whole life of a run against a fake gcloud: what is called, in what order, how it ends."""

import shlex

import pytest

from tests.support.launch import NAME, RUN, WHERE

CHECKS = ['bucket', 'type', 'image']
UP = ['state', 'create', 'state']  # is there one; create; is it ready
START = ['hosts', 'worker', 'scp', 'setup', 'start']
ROUND = ['state', 'worker']  # of following
DOWN = ['state', 'delete']


def test_created_and_finished(launch):
  launch.answers('state.1', '0 WAITING_FOR_RESOURCES', '0 PROVISIONING', '0 ACTIVE')
  launch.hosts(1, 'absent', 'running', 'running running running 0', '0')
  assert launch('all', *RUN) == 0
  waiting = ['state', 'state']
  assert launch.calls() == [*CHECKS, *UP, *waiting, *START, *ROUND * 3, *DOWN]
  assert not launch.exists()
  assert launch.log()[0] == 'attempt 1 of 5' and launch.log()[-1] == f'{NAME} is deleted'
  assert 'cost: 16 chips' in launch.out.partition('queued-resources create')[0]


def test_preempted_twice_then_done(launch):
  for creation in (1, 2):
    launch.answers(f'state.{creation}', '0 ACTIVE', '0 ACTIVE', '0 SUSPENDED')
    launch.hosts(creation, 'absent', 'running')
  launch.hosts(3, 'absent', '0')
  assert launch('all', *RUN, '--spot') == 0
  preempted = [*UP, *START, *ROUND, 'state', *DOWN]
  assert launch.calls() == [*CHECKS, *preempted * 2, *UP, *START, *ROUND, *DOWN]
  assert [line for line in launch.log() if line.startswith('attempt')] == [
    f'attempt {i} of 5' for i in (1, 2, 3)
  ]
  assert launch.log().count(f'{NAME}: SUSPENDED') == 2
  # The machines are other ones; the command and its work directory are the same.
  start = launch.arguments('start')
  assert start[0] == start[1] == start[2] and '--worker=all' in start[0]


def test_preempted_while_it_is_made(launch):
  launch.answers('state.1', '0 PROVISIONING', '0 SUSPENDED')
  launch.hosts(2, 'absent', '0')
  assert launch('all', *RUN) == 0
  assert launch.calls() == [*CHECKS, *UP, 'state', *DOWN, *UP, *START, *ROUND, *DOWN]


def test_quota_refused(launch):
  launch.answers('create', '1 ')
  assert launch('all', *RUN) == 1
  assert launch.calls() == [*CHECKS, *UP]  # the last: there is nothing to delete
  assert 'create failed' in launch.err and 'quota' in launch.err


def test_a_request_that_fails(launch):
  launch.answers('state', '0 WAITING_FOR_RESOURCES', '0 FAILED')
  launch.answers('why', '0 There is no more capacity')
  assert launch('up', *RUN) == 1
  assert launch.calls() == [*CHECKS, *UP, 'state', 'why', *DOWN]
  assert 'FAILED. There is no more capacity' in launch.err


@pytest.mark.parametrize('verb', ['scp', 'setup', 'start'])
def test_ssh_fails_once(launch, verb):
  launch.answers(verb, '255 ', '0 ')
  launch.hosts(1, 'absent', '0')
  assert launch('all', *RUN) == 0
  start = [call for call in START for _ in range(2 if call == verb else 1)]
  assert launch.calls() == [*CHECKS, *UP, *start, *ROUND, *DOWN]


def test_ssh_fails_once_while_it_runs(launch):
  launch.hosts(1, 'absent', '0')
  path = launch.fake / 'worker.1'
  absent, done = path.read_text().splitlines()
  launch.answers('worker.1', absent, '255 ', done)
  assert launch('all', *RUN) == 0
  assert launch.calls() == [*CHECKS, *UP, *START, *ROUND * 2, *DOWN]
  assert 'hosts do not answer, 1 of 10' in launch.out


def test_setup_that_always_fails_is_no_endless_loop(launch):
  launch.answers('setup', '1 ')
  assert launch('all', *RUN) == 1
  assert launch.calls() == [*CHECKS, *UP, *START[:3], *['setup'] * 5, 'state', *DOWN]
  assert not launch.exists()


def test_machines_without_hosts_are_not_success(launch):
  launch.answers('hosts', '0 ')
  assert launch('all', *RUN) == 1
  assert launch.calls() == [*CHECKS, *UP, *['hosts'] * 5, 'state', *DOWN]


def test_a_host_that_is_missing_is_not_success(launch):
  launch.hosts(1, 'absent', '0 0 0', '0')
  assert launch('all', *RUN) == 0
  assert launch.calls() == [*CHECKS, *UP, *START, *ROUND * 2, *DOWN]


@pytest.mark.parametrize('code', ['42', '134', 'lost'])
def test_exit_42_deletes_creates_and_resumes(launch, code):
  """134: the program was aborted since its coordinator was gone; lost: the host was restarted."""
  launch.hosts(1, 'absent', f'0 0 0 {code}')
  launch.hosts(2, 'absent', '0')
  assert launch('all', *RUN) == 0
  once = [*UP, *START, *ROUND, *DOWN]
  assert launch.calls() == [*CHECKS, *once * 2]


def test_hosts_that_still_save_get_another_round(launch):
  launch.hosts(1, 'absent', '42 running 42 42', '42 running 42 42')
  launch.hosts(2, 'absent', '0')
  assert launch('all', *RUN) == 0
  assert launch.calls() == [*CHECKS, *UP, *START, *ROUND * 2, *DOWN, *UP, *START, *ROUND, *DOWN]


def test_attempts_are_counted(launch):
  launch.hosts(1, 'absent', '42')
  launch.hosts(2, 'absent', '42')
  assert launch('all', *RUN, '--attempts=2') == 42
  assert launch.calls() == [*CHECKS, *[*UP, *START, *ROUND, *DOWN] * 2]
  assert 'the attempts are used up' in launch.log()[-1]


@pytest.mark.parametrize('code', ['3', '2', '137', '1'])
def test_a_run_that_fails_is_not_resumed(launch, code):
  """One host is enough: the others may wait for it for ever."""
  launch.hosts(1, 'absent', f'running 42 running {code}')
  assert launch('all', *RUN) == int(code)
  assert launch.calls() == [*CHECKS, *UP, *START, *ROUND, *DOWN]
  assert not launch.exists()


@pytest.mark.parametrize('command', ['up', 'all'])
def test_ctrl_c_while_it_waits(launch, command):
  launch.answers('state', '0 WAITING_FOR_RESOURCES')
  process = launch.start(command, *RUN)
  launch.wait_for('create', 'state')
  assert launch.interrupt(process) == 130
  calls = launch.calls()
  assert calls[:6] == [*CHECKS, *UP] and calls[-2:] == DOWN and not launch.exists()
  assert set(calls[6:-1]) <= {'state'}


@pytest.mark.parametrize(('answer', 'file'), [('SLEEP', 'exists'), ('LATE', 'late')])
def test_ctrl_c_while_gcloud_creates(launch, answer, file):
  """The call never returns; its request exists already, or arrives later."""
  launch.answers('create', f'0 {answer}')
  launch.env['POSJAX_POLL'] = '3'
  process = launch.start('up', *RUN)
  launch.wait_for_file(file)
  assert launch.interrupt(process) == 130
  assert launch.calls() == [*CHECKS, 'state', 'create', *DOWN] and not launch.exists()


def test_a_second_ctrl_c_does_not_stop_the_deletion(launch):
  launch.answers('state', '0 WAITING_FOR_RESOURCES')
  launch.answers('delete', '0 PAUSE')
  process = launch.start('up', *RUN)
  launch.wait_for('create', 'state')
  assert launch.interrupt(process, times=3) == 130
  assert launch.calls().count('delete') == 1 and not launch.exists()


def test_ctrl_c_while_it_runs(launch):
  launch.hosts(1, 'absent', 'running')
  process = launch.start('all', *RUN)
  launch.wait_for('start', *ROUND)
  assert launch.interrupt(process) == 130
  assert launch.calls()[-1] == 'delete' and not launch.exists()


def test_ctrl_c_of_run_leaves_the_machines(launch):
  assert launch('up', *RUN) == 0 and launch.exists()
  assert f'./launch_tpu.sh down --name={NAME}' in launch.out
  launch.hosts(1, 'absent', 'running')
  process = launch.start('run', *RUN)
  launch.wait_for('start', *ROUND)
  assert launch.interrupt(process) == 130
  assert 'delete' not in launch.calls() and launch.exists()
  assert f'./launch_tpu.sh down --name={NAME}' in launch.out


def test_a_deletion_that_fails_is_repeated(launch):
  launch.answers('delete', '1 ', '1 ', '0 ')
  launch.hosts(1, 'absent', '0')
  assert launch('all', *RUN) == 0
  assert launch.calls() == [*CHECKS, *UP, *START, *ROUND, *DOWN * 3]


def test_a_deletion_that_never_works_is_loud(launch):
  launch.answers('delete', '1 ')
  launch('up', *RUN)
  assert launch('down', *WHERE, f'--name={NAME}') == 1
  assert f'NOT DELETED, AND BILLED: {NAME}. Run: ./launch_tpu.sh down' in launch.out


def test_another_user_deletes_the_machines(launch):
  launch.hosts(1, 'absent', 'running')
  process = launch.start('all', *RUN)
  launch.wait_for('start', *ROUND)
  (launch.fake / 'exists').unlink()
  out, err = process.communicate(timeout=60)
  assert process.returncode == 1 and 'another user deleted' in err
  assert launch.calls().count('create') == 1 and 'delete' not in launch.calls()


def test_run_needs_machines(launch):
  assert launch('run', *RUN) == 2
  assert launch.calls() == [*CHECKS, 'state'] and f'{NAME} is not up' in launch.err


def test_resume_follows_a_run_that_is_still_running(launch):
  launch.hosts(1, 'running', '0')
  launch('up', *RUN)
  before = len(launch.calls())
  assert launch('resume', *RUN) == 0
  assert launch.calls()[before:] == [
    *CHECKS, 'state', 'state', 'state', 'hosts', 'worker', *ROUND
  ]
  assert launch.exists()


def test_resume_makes_what_was_taken_away(launch):
  launch('up', *RUN)
  launch.answers('state.1', '0 SUSPENDED')
  launch.hosts(2, 'absent', '0')
  before = len(launch.calls())
  assert launch('resume', *RUN) == 0
  assert launch.calls()[before:] == [
    *CHECKS, 'state', *DOWN, 'create', 'state', 'state', *START, *ROUND
  ]


def test_direct(launch):
  launch.answers('state.1', '0 READY')
  launch.hosts(1, 'absent', '0')
  assert launch('all', *RUN, '--direct') == 0
  assert launch.calls() == [*CHECKS, *UP, *START, *ROUND, *DOWN]
  (create,), (delete,) = launch.arguments('create'), launch.arguments('delete')
  assert create[:5] == ['compute', 'tpus', 'tpu-vm', 'create', NAME]
  assert delete[:5] == ['compute', 'tpus', 'tpu-vm', 'delete', NAME]


def test_two_slices(launch):
  launch.answers('hosts', '0 2')
  line = '|'.join(f'posjax-state: {code} on h' for code in ('{0}', '{0}'))
  launch.answers('worker.1', *(f'0 {line.format(code)}' for code in ('absent', 'absent', '0', '0')))
  assert launch('all', *RUN, '--slices=2') == 0
  twice = [*['hosts'] * 2, *['worker'] * 2, *['scp', 'setup'] * 2, *['start'] * 2]
  assert launch.calls() == [*CHECKS, *UP, *twice, 'state', 'worker', 'worker', *DOWN]
  nodes = [arguments[4] for arguments in launch.arguments('start')]
  assert nodes == [f'{NAME}-0', f'{NAME}-1']
  (create,) = launch.arguments('create')
  assert '--node-count=2' in create and f'--node-prefix={NAME}' in create


def test_down_of_all_that_is_mine(launch):
  launch.answers('list', '0 one|two', '0 ', '0 three', '0 ')
  (launch.fake / 'exists').touch()
  launch('down', '--all-mine', '--project=my-project')
  assert launch.calls()[:6] == ['list', 'delete', 'delete', 'list', 'list', 'delete']
  assert [arguments[4] for arguments in launch.arguments('delete')] == ['one', 'two', 'three']
  filters = {word for call in launch.arguments('list') for word in call if 'filter' in word}
  assert filters == {
    '--filter=tpu.nodeSpec.node.labels.posjax_user=ann',
    '--filter=labels.posjax_user=ann AND NOT queuedResource:*',
  }


def test_status_and_logs(launch):
  launch('up', *RUN)
  launch.hosts(1, 'running running running 42')
  before = len(launch.calls())
  assert launch('status', *WHERE, f'--name={NAME}') == 0
  assert launch.calls()[before:] == ['state', 'hosts', 'worker']
  assert 'running running running 42' in launch.out and f'{NAME}: ACTIVE' in launch.out
  assert launch('logs', *WHERE, f'--name={NAME}') == 0
  (log,) = launch.arguments('log')
  assert '--worker=all' in log and log[-1].endswith('tpu_worker.sh follow')


VALUES = ["it's", 'a b', '"', '$HOME `x` \\', 'two\nlines\n', '*', '', '-- --tpu=v6e-8']


def test_overrides_arrive_as_they_were_written(launch):
  launch.hosts(1, 'absent', '0')
  flags = [f'--config.generate.stop={value}' for value in VALUES]
  assert launch('all', *RUN, '--', *flags) == 0
  (start,) = launch.arguments('start')
  command = start[-1].removeprefix('--command=')
  assert shlex.split(command)[5:] == ['--hosts=4', '--config=configs/rope.py', *flags]
