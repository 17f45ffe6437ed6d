"""Simulates eight devices, offers float64, and runs tests with an `encoding` for every encoding."""

import contextlib
import importlib
import importlib.metadata
import itertools
import math
import os
import pathlib

# Set before jax is imported. Tests spend most of their time compiling, and their arrays are too
# small to repay optimization. A test that needs it starts a child process without these flags.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ['XLA_FLAGS'] = ' '.join([
  os.environ.get('XLA_FLAGS', ''),
  '--xla_force_host_platform_device_count=8',
  '--xla_backend_optimization_level=0',
  '--xla_cpu_parallel_codegen_split_count=1',
  # Later versions of jaxlib abort on this flag.
  '--xla_cpu_use_fusion_emitters=false' * importlib.metadata.version('jax').startswith('0.10.'),
])
# Keeps compiled programs out of the user's cache folder; a test may name another one.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', '')

import jax
import pytest

from posjax import encodings
from posjax.encodings import Chain
from posjax.encodings.fox import Fox
from posjax.encodings.rope import Rope
from posjax.encodings.sinusoidal import Sinusoidal
from posjax.encodings.t5 import T5
from tests.support.problem import DIMS, GRID

# The example of `randomize` is a chain too.
CHAINS = (Chain((Rope(), Fox())), Chain((Sinusoidal(), T5(buckets=8, max_distance=40))))


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield


# One encoding of each kind: rotary, bias, carry. All their tests run every time. First examples of
# the other encodings, and chains, run the tests in OF_ALL; their other tests are marked slow. Tests
# in OF_FIRST skip second examples, which differ in numbers but not in the program.
CORE = {'alibi', 'fox', 'rope'}
OF_ALL = {'test_an_oracle_exists', 'test_cross_attention_equals_the_oracle'}
OF_FIRST = {
  'test_a_wrapped_ring_buffer_equals_a_plain_cache',
  'test_a_ring_of_devices_gives_the_numbers_of_one', 'test_eight_devices_give_the_same_numbers',
  'test_memory_is_linear_in_the_length',
  'test_transformations_keep_the_numbers',
}

MAPPINGS = pathlib.Path('/proc/self/maps')  # of this process; not on macOS

# Files parametrized by `encoding`; most of their tests share solutions from support/problem.py.
SHARED = [
  *(f'tests/attention/test_{name}.py' for name in ('cache', 'kernel')),
  *(f'tests/encodings/test_{name}.py' for name in ('encodings', 'equations', 'traits')),
]


def examples(name):
  """Returns the encodings in a module's EXAMPLES, {part: arguments}; otherwise its class alone."""
  module = importlib.import_module(f'posjax.encodings.{name}')
  shelf = [
    [encodings.find(part)(**arguments) for part, arguments in example.items()]
    for example in getattr(module, 'EXAMPLES', ({name: {}},))
  ]
  assert 1 <= len(shelf) <= 2, f'{name} names {len(shelf)} examples; expected one or two'
  return [parts[0] if len(parts) == 1 else Chain(tuple(parts)) for parts in shelf]


def on_each(encoding):
  """Yields the encoding; if it reads all axes, for a line and for a grid, where it fits them."""
  if encoding.axes != math.inf:
    yield encoding
    return
  for dims in (DIMS, GRID):
    with contextlib.suppress(ValueError):
      encoding.check(dims)
      yield encoding.clone(dims=dims)


def title(encoding):
  if isinstance(encoding, Chain):
    return '+'.join(map(title, encoding.parts))
  defaults = encodings.arguments(type(encoding))
  changed = {k: v for k, v in encodings.arguments(encoding).items() if v != defaults[k]}
  grid = [f'axes={encoding.dims.P}'] if encoding.dims else []
  return '-'.join([encodings.name_of(encoding), *grid, *(f'{k}={v}' for k, v in changed.items())])


def shelf():
  """Yields (encoding, whether it is in CORE, whether it is its file's first example)."""
  for name in encodings.names():
    for i, encoding in enumerate(examples(name)):
      for own in on_each(encoding):
        yield own, i == 0 and name in CORE, i == 0
  for chain in CHAINS:
    yield chain, False, True


def pytest_generate_tests(metafunc):
  own = [mark.args[0] for mark in metafunc.definition.iter_markers('parametrize')]
  if 'encoding' in metafunc.fixturenames and 'encoding' not in own:
    of_all, of_first = (metafunc.function.__name__ in names for names in (OF_ALL, OF_FIRST))
    metafunc.parametrize('encoding', [
      pytest.param(
        encoding, id=title(encoding),
        marks=[] if core or (first and of_all) else [pytest.mark.slow],
      ) for encoding, core, first in shelf() if first or not of_first
    ])


def pytest_runtest_logfinish(nodeid, location, finished=itertools.count(1)):  # noqa: B008
  """Clears jax's caches in time: a compiled program takes some 20 mappings; Linux allows 65,530.

  Counting mappings takes 10 ms, so this counts after every tenth test.
  """
  if next(finished) % 10 or not MAPPINGS.exists():
    return
  if MAPPINGS.read_bytes().count(b'\n') > 30_000:
    jax.clear_caches()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """Sends tests that share solutions, by encoding or by file, to the same process."""
  from xdist.scheduler import LoadScopeScheduling

  class Scheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid):
      file, _, test = nodeid.partition('::')
      return test.partition('[')[2].partition(']')[0].partition('-')[0] if file in SHARED else file

  return Scheduling(config, log)
