"""What is imported when: a user of the encodings pays for jax and flax, not for data and plots."""

import subprocess
import sys

import pytest

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
