"""launch_tpu.sh in a clone of its own, with a fake gcloud or with none."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).parents[2]
BASH = os.environ.get('POSJAX_BASH', 'bash')  # POSJAX_BASH=/path/to/bash-3.2 runs all with another
# All that launch_tpu.sh calls beside gcloud: with nothing else in PATH, gcloud is absent.
TOOLS = (
  'awk basename bash cat cut date dirname env git grep gzip head id ls mkdir mktemp mv rm sed sh '
  'sleep sort tail tr'
).split()
WHERE = ('--zone=us-west4-a', '--project=my-project')
RUN = ('--tpu=v5litepod-16', '--bucket=gs://my-bucket', '--config=configs/rope.py', *WHERE)
NAME = 'posjax-rope-ann'


def git(folder, *words):
  identity = ('-c', 'user.name=ann', '-c', 'user.email=ann@example.org', '-c', 'core.hooksPath=')
  return subprocess.run(
    ['git', *identity, *words], cwd=folder, check=True, capture_output=True, text=True
  ).stdout.strip()


class Launch:
  """Runs the script and holds what the fake gcloud was asked."""

  def __init__(self, clone, tools, folder):
    self.clone, self.fake = clone, folder / 'fake'
    self.bin = folder / 'bin'
    for path in (self.fake, self.bin):
      path.mkdir()
    self.env = {
      'PATH': f'{self.bin}:{tools}', 'HOME': str(folder), 'USER': 'ann', 'FAKE': str(self.fake),
      'POSJAX_POLL': '0.02',
    }
    shutil.rmtree(clone / 'runs', ignore_errors=True)

  def install_gcloud(self):
    shutil.copy(ROOT / 'tests/launch/fake_gcloud.sh', self.bin / 'gcloud')

  def answers(self, verb, *lines):
    (self.fake / verb).write_text(''.join(f'{line}\n' for line in lines))

  def hosts(self, creation, *rounds):
    """Each round is the state of all four hosts, or four states."""
    lines = []
    for states in rounds:
      states = states.split()
      states = states if len(states) > 1 else states * 4
      lines.append('0 ' + '|'.join(f'posjax-state: {state} on h: step 1' for state in states))
    self.answers(f'worker.{creation}', *lines)

  def start(self, command, *flags):
    # bash cannot trap a signal that was ignored when it started, as SIGINT is in the background.
    hear = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
      [BASH, 'launch_tpu.sh', command, *flags], cwd=self.clone, env=self.env, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=hear,
    )

  def __call__(self, command, *flags):
    process = self.start(command, *flags)
    self.out, self.err = process.communicate(timeout=60)
    return process.returncode

  def interrupt(self, process, times=1):
    """Ctrl-C, as a terminal sends it: to all processes of the group.

    bash loses one that arrives in the moment in which a command ends; then it is pressed again.
    """
    for patience in (*(0.1,) * (times - 1), 5, 60):
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
      with contextlib.suppress(subprocess.TimeoutExpired):
        self.out, self.err = process.communicate(timeout=patience)
        return process.returncode
    process.kill()
    raise AssertionError(f'Ctrl-C was not heard: {self.calls()}')

  def calls(self):
    path = self.fake / 'calls'
    return path.read_text().split() if path.exists() else []

  def arguments(self, verb):
    """The arguments of each call of this verb."""
    numbers = [i for i, call in enumerate(self.calls(), 1) if call == verb]
    return [(self.fake / f'args-{i}').read_text().split('\0')[:-1] for i in numbers]

  def wait_for(self, *calls):
    end = time.monotonic() + 30
    while self.calls()[-len(calls):] != list(calls):
      assert time.monotonic() < end, self.calls()
      time.sleep(0.01)

  def wait_for_file(self, name):
    end = time.monotonic() + 30
    while not (self.fake / name).exists():
      assert time.monotonic() < end, self.calls()
      time.sleep(0.01)

  def exists(self):
    return (self.fake / 'exists').exists()

  def log(self):
    path = self.clone / f'runs/launch/{NAME}/attempts.log'
    return [line.split(' ', 1)[1] for line in path.read_text().splitlines()]
