"""Processes that a sweep starts, replaced: `jobs.Process` runs, but starts no program."""

import itertools
import os
import subprocess
import types

from posjax.sweep import jobs

USAGE = types.SimpleNamespace(ru_utime=1.25, ru_stime=0.5, ru_maxrss=3 * 2**10)


class Ended:
  """A process that ended with an exit code, which is negative after a signal."""

  pids = itertools.count(10**7)  # above Linux's largest

  def __init__(self, code):
    self.pid, self.code, self.returncode = next(self.pids), code, None

  def poll(self):
    """Returns the exit code, or None while the process runs."""
    return self.code

  def terminate(self):
    pass


def replace(monkeypatch, start):
  """Makes a sweep call start(command, stdout=, stderr=, env=) instead of starting a program."""
  started = {}

  def popen(command, **settings):
    process = start(command, **settings)
    started[process.pid] = process
    return process

  def wait4(pid, options):
    assert options == os.WNOHANG
    code = started[pid].poll()
    if code is None:
      return 0, 0, None
    return pid, code << 8 if code >= 0 else -code, USAGE

  replaced = types.SimpleNamespace(Popen=popen, STDOUT=subprocess.STDOUT)
  monkeypatch.setattr(jobs, 'subprocess', replaced)
  monkeypatch.setattr(os, 'wait4', wait4)
  monkeypatch.setattr(jobs, 'POLL', 0)
