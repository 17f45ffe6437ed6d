"""Import times: using the encodings imports jax and flax, but neither data nor plots."""

import ast
import graphlib
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

import posjax
from posjax import attention, config, encodings

ROOT = pathlib.Path(__file__).parents[1]

HEAVY = (
  'array_record', 'grain', 'matplotlib', 'pyarrow', 'tensorboardX', 'tensorflow',
  'tensorflow_datasets', 'wandb',
)


@pytest.mark.parametrize(
  ('modules', 'unwanted'),
  [
    ('posjax', (*HEAVY, 'orbax', 'flax', 'jax', 'numpy')),
    (
      'posjax.attention, posjax.encodings.rope, posjax.models.transformer',
      (*HEAVY, 'posjax.checkpoint', 'posjax.config'),
    ),
    ('posjax.train, posjax.generate, posjax.plan', HEAVY),
    ('posjax.runtime.compile_cache', (*HEAVY, 'orbax', 'flax', 'optax')),
  ],
)
def test_nothing_heavy_is_imported_before_it_is_used(modules, unwanted):
  code = f'import sys; import {modules}; print(*sorted(set({unwanted!r}) & sys.modules.keys()))'
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout.split() == []


def imported():
  """Returns {module: modules of posjax that it imports, at the top or within functions}."""
  files = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): path
    for path in (ROOT / 'posjax').rglob('*.py')
  }
  found = {module: set() for module in files}
  for module, path in files.items():
    tree = ast.parse(path.read_text())
    typing = {
      id(node) for block in ast.walk(tree)
      if isinstance(block, ast.If) and ast.unparse(block.test) == 'TYPE_CHECKING'
      for node in ast.walk(block)
    }
    for node in ast.walk(tree):
      if isinstance(node, ast.ImportFrom) and id(node) not in typing:
        names = [f'{node.module}.{alias.name}' for alias in node.names]
        found[module] |= {name if name in files else node.module for name in names} & files.keys()
    found[module].discard(module)
  return found


def test_there_are_no_import_cycles():
  """Neither modules nor packages, including imports within functions."""
  modules, packages = imported(), {}
  graphlib.TopologicalSorter(modules).prepare()
  room = lambda module: [*module.split('.'), ''][1]
  for module, others in modules.items():
    packages.setdefault(room(module), set()).update({*map(room, others)} - {room(module), ''})
  graphlib.TopologicalSorter(packages).prepare()
  assert {'encodings', 'errors'} <= packages['attention'] and not packages['errors']


@pytest.mark.slow
def test_a_wheel_contains_its_configs(tmp_path):
  """The wheel works from an empty folder, without the checkout."""
  pip = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', tmp_path / 'wheel']
  copy = tmp_path / 'copy'
  for name in ('posjax', 'configs'):
    shutil.copytree(ROOT / name, copy / name)
  for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, copy)
  subprocess.run([*pip, copy], check=True)
  (wheel,) = (tmp_path / 'wheel').glob('*.whl')
  zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
  (tmp_path / 'empty').mkdir()
  code = (
    'import posjax; from posjax import run; '
    "print(posjax.__file__, run.parse(['posjax', '--config=flip_flop']).path)"
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=tmp_path / 'empty', capture_output=True, text=True,
    check=True, env=os.environ | {'PYTHONPATH': str(tmp_path / 'site')},
  )
  site = tmp_path / 'site/posjax'
  assert done.stdout.split() == [
    f'{site}/__init__.py', f'{site}/configs/tasks/flip_flop.py'
  ]
  assert (site / 'py.typed').exists()


def test_the_package_exports_its_names():
  assert posjax.build is encodings.build and posjax.Positions is encodings.Positions
  assert posjax.attend is attention.attend and posjax.load_config is config.load
  for name in encodings.names():
    kind = encodings.find(name)
    assert getattr(posjax, kind.__name__) is kind
  with pytest.raises(AttributeError, match="^module 'posjax' has no attribute 'Ropee'$"):
    _ = posjax.Ropee


def test_no_script_hides_a_module_of_python():
  """Python searches the folder of a script first: experiments/copy.py would break `import copy`."""
  scripts = {path.stem for path in (ROOT / 'experiments').glob('*.py')}
  assert scripts and not scripts & sys.stdlib_module_names
