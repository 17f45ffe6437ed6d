"""launch_tpu.sh in a clone of its own, with a fake gcloud or with none."""

import shutil

import pytest

from tests.support.launch import BASH, ROOT, TOOLS, Launch, git


@pytest.fixture(scope='session')
def tools(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tools')
  for name in TOOLS:
    (folder / name).symlink_to(shutil.which(BASH if name == 'bash' else name))
  return folder


@pytest.fixture(scope='session')
def clone(tmp_path_factory):
  """A clean clone, which no test changes but below the ignored folder runs/."""
  folder = tmp_path_factory.mktemp('clone')
  shutil.copy(ROOT / 'launch_tpu.sh', folder)
  shutil.copy(ROOT / '.gitignore', folder)
  for name in ('experiments/launch', 'configs'):
    shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
  git(folder, 'init', '-q')
  git(folder, 'add', '--all')
  git(folder, 'commit', '-q', '-m', 'All of it')
  return folder


@pytest.fixture
def offline(clone, tools, tmp_path):
  """The script where gcloud is not installed."""
  return Launch(clone, tools, tmp_path)


@pytest.fixture
def launch(offline):
  """The script with a fake gcloud."""
  offline.install_gcloud()
  return offline
