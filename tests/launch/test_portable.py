"""bash 3.2, which macOS has, reads launch_tpu.sh; shellcheck finds nothing in any script."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.support.launch import BASH, ROOT

LOCAL = ('launch_tpu.sh', 'experiments/launch/tpu_checks.sh')  # what a user's own machine runs
SCRIPTS = (
  *LOCAL, 'experiments/launch/tpu_worker.sh', 'experiments/launch/gke_xpk.sh',
  'experiments/launch/slurm.sbatch',
)
# What bash 3.2 lacks, with an example that the pattern must find.
NEWER = {
  r'\b(declare|local|typeset) +-\w*[Anglu]': 'local -n name=x',
  r'\$\{!?\w+(\[.*?\])?(,,?|\^\^?)': '${x,,}',
  r'\$\{\w+(\[.*?\])?@[A-Za-z]\}': '${x@Q}',
  r'\b(mapfile|readarray|coproc)\b': 'mapfile -t lines',
  r'\bwait +-[nfp]': 'wait -n',
  r'&>>': 'a &>> b',
  r'\|&': 'a |& b',
  r';;?&': 'x) ;;&',
  r'\$\{\w+: -?\d*\s*:? *-\d': '${x: 1: -1}',
  r'\$\{?(EPOCHSECONDS|EPOCHREALTIME|BASHPID|SRANDOM)': '$EPOCHSECONDS',
  r'printf +["\']?[^"\']*%\([^)]*\)T': "printf '%(%F)T'",
  r'\bshopt +-s +(globstar|lastpipe|inherit_errexit)': 'shopt -s globstar',
  r'\{\w+\}[<>]': 'exec {fd}>file',
  r'\bread +-\w*[Ni]': 'read -N 1',
  r'\[\[? +-[vR] ': '[ -v name ]',
  r'\w+\[-\d+\]': '${x[-1]}',
  r'\{\d+\.\.\d+\.\.\d+\}|\{0\d+\.\.': '{01..10}',
  r'(?<!\+)"\$\{(tier|track|main_flags)\[@\]\}"(?!\})': '"${tier[@]}"',  # may be empty
}


def code(name):
  """The script without its comments."""
  return re.sub(r'(?m)(^|\s)#.*$', '', (ROOT / name).read_text())


@pytest.mark.parametrize('pattern', NEWER)
def test_nothing_is_newer_than_bash_3_2(pattern):
  assert re.search(pattern, NEWER[pattern])
  for name in LOCAL:
    found = [line for line in code(name).splitlines() if re.search(pattern, line)]
    allowed = [line for line in found if 'main_flags[@]' in line and 'quote_all' in line]
    allowed += [line for line in found if 'worker start' in line]  # --config is always in there
    assert found == allowed, name


@pytest.mark.parametrize('name', SCRIPTS)
def test_shellcheck_finds_nothing(name):
  path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
  checker = shutil.which('shellcheck', path=path) or pytest.fail("pip install -e '.[test]'")
  result = subprocess.run([checker, '-x', name], cwd=ROOT, capture_output=True, text=True)
  assert result.stdout == '' and result.returncode == 0


@pytest.mark.parametrize('name', SCRIPTS)
def test_the_script_can_be_read(name):
  result = subprocess.run([BASH, '-n', ROOT / name], capture_output=True, text=True)
  assert (result.returncode, result.stderr) == (0, '')


def test_a_stranger_can_read_it():
  lines = (ROOT / 'launch_tpu.sh').read_text().splitlines()
  assert len(lines) < 500 and max(map(len, lines)) < 125
