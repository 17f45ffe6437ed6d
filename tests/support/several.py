"""Starts one run on several hosts: a process for each, on this machine."""

import socket
import subprocess

from tests.support.lab import Lab


class Hosts(Lab):
  """A lab whose runs may be on several hosts, each with some simulated devices."""

  def start_host(self, workdir, *overrides, hosts=1, host=0, port=0, devices=1, **settings):
    """Starts one host; its output goes to `workdir`.HOST.out."""
    flags = [f'--hosts={hosts}', f'--host={host}', f'--coordinator=localhost:{port}']
    simulated = {
      'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
      'GIT_OPTIONAL_LOCKS': '0',  # with RLIMIT_FSIZE git cannot refresh its index
    }
    with (self.root / f'{workdir}.{host}.out').open('w') as output:
      return subprocess.Popen(
        [*self.command(workdir, *overrides), *(flags if hosts > 1 else [])], stdout=output,
        stderr=subprocess.STDOUT, cwd=self.root, env=self.environment | simulated, **settings,
      )

  def start_all(self, workdir, *overrides, hosts=1, devices=1):
    """Starts all hosts of a run."""
    port = free_port()
    return [
      self.start_host(workdir, *overrides, hosts=hosts, host=host, port=port, devices=devices)
      for host in range(hosts)
    ]

  def refused(self, processes, outputs, code):
    """Expects one line from each host, the same from all; returns it.

    `outputs` are (workdir, host) of the processes, whose exit codes must all be `code`.
    """
    assert wait(processes, 180) == [code] * len(processes)
    said = [self.output(*output) for output in outputs]
    assert all(text.count('posjax: ') == 1 and 'Traceback' not in text for text in said), said
    (line,) = {text.splitlines()[-1] for text in said}
    self.transcript += [line, f'exit code {code}, {len(processes)} times']
    return line

  def output(self, workdir, host=0):
    return (self.root / f'{workdir}.{host}.out').read_text()

  def run_all(self, workdir, *overrides, hosts=1, devices=1):
    """Runs to the end; every host must end with exit code 0."""
    codes = wait(self.start_all(workdir, *overrides, hosts=hosts, devices=devices))
    assert codes == [0] * hosts, self.output(workdir, max(range(hosts), key=codes.__getitem__))


def wait(processes, seconds=300):
  """Returns the exit codes; ends what still runs after `seconds`."""
  try:
    return [process.wait(seconds) for process in processes]
  finally:
    for process in processes:
      process.kill()


def free_port():
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    return probe.getsockname()[1]
