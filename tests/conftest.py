"""Eight simulated devices, float64 on demand, and the shelf for each test that takes `encoding`."""

import importlib
import os

# Must stand before jax is imported.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
)

import jax
import pytest

from posjax import encodings


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield


def examples(name):
  """What the encoding's module names as its `examples()`, or the class with its defaults."""
  module = importlib.import_module(f'posjax.encodings.{name}')
  shelf = getattr(module, 'examples', lambda: (encodings.find(name)(),))()
  assert 1 <= len(shelf) <= 2, f'{name} names {len(shelf)} examples; one or two are wanted'
  return shelf


def title(encoding):
  defaults = encodings.arguments(type(encoding))
  changed = {k: v for k, v in encodings.arguments(encoding).items() if v != defaults[k]}
  return '-'.join([encodings.name_of(encoding), *(f'{k}={v}' for k, v in changed.items())])


def pytest_generate_tests(metafunc):
  if 'encoding' in metafunc.fixturenames:
    shelf = [encoding for name in encodings.names() for encoding in examples(name)]
    metafunc.parametrize('encoding', shelf, ids=title)
