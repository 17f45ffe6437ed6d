"""Eight simulated devices, float64 on demand, and the shelf for each test that takes `encoding`."""

import importlib
import os

# Must stand before jax is imported.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
)
# Programs are kept where a test says, or nowhere: not in the user's cache folder.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', '')

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


# Files that go through the encodings; most of their tests share what tests/problem.py solves.
SHARED = [
  f'tests/test_{name}.py' for name in ('cache', 'encodings', 'equations', 'kernel', 'traits')
]


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
    both = metafunc.module.__name__ == 'tests.test_equations'
    slow = [pytest.mark.slow]
    metafunc.parametrize('encoding', [
      pytest.param(encoding, id=title(encoding), marks=slow * (second and not both))
      for shelf in [*map(examples, encodings.names()), *((chain,) for chain in CHAINS)]
      for second, encoding in enumerate(shelf)
    ])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """What is solved once for an encoding, or for a file, is solved by one process."""
  from xdist.scheduler import LoadScopeScheduling

  class Scheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid):
      file, _, test = nodeid.partition('::')
      return test.partition('[')[2].partition(']')[0].partition('-')[0] if file in SHARED else file

  return Scheduling(config, log)
