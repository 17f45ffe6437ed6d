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
from posjax.encodings import Chain
from posjax.encodings.fox import Fox
from posjax.encodings.rope import Rope
from posjax.encodings.sinusoidal import Sinusoidal
from posjax.encodings.t5 import T5

# Besides these, the example of `randomize` is a chain.
CHAINS = (Chain((Rope(), Fox())), Chain((Sinusoidal(), T5(buckets=8, max_distance=40))))


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
  if isinstance(encoding, Chain):
    return '+'.join(map(title, encoding.parts))
  defaults = encodings.arguments(type(encoding))
  changed = {k: v for k, v in encodings.arguments(encoding).items() if v != defaults[k]}
  return '-'.join([encodings.name_of(encoding), *(f'{k}={v}' for k, v in changed.items())])


def pytest_generate_tests(metafunc):
  if 'encoding' in metafunc.fixturenames:
    # Second settings, but for their equations, are left to the slow run.
    firsts_only = metafunc.module.__name__ != 'tests.test_equations'
    metafunc.parametrize('encoding', [
      # What is solved once for an encoding is solved by one process: a group goes to one.
      pytest.param(encoding, id=title(encoding), marks=[
        pytest.mark.xdist_group(title(encoding)), *[pytest.mark.slow] * (second and firsts_only)
      ])
      for shelf in [*map(examples, encodings.names()), *((chain,) for chain in CHAINS)]
      for second, encoding in enumerate(shelf)
    ])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """All other tests of a file share its fixtures: they are a group."""
  for item in items:
    if not item.get_closest_marker('xdist_group'):
      item.add_marker(pytest.mark.xdist_group(item.path.stem))
