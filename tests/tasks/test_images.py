"""Tasks on images: places, patches, sizes, rows of several images, guesses, and what is refused."""

import collections
import itertools
import json
import math
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import data, state
from posjax import run as run_lib
from posjax.batch import Batch, padded
from posjax.data import package_readers, pipeline
from posjax.encodings.core.tokens import NOWHERE
from posjax.errors import UserError
from posjax.models import build as models
from posjax.models import transformer
from posjax.models.transformer import outputs_of
from posjax.tasks.core.images import PLACEMENTS, image_of, patches, resized
from posjax.tasks.digits import Digits
from posjax.tasks.pixels import Pixels, bits
from posjax.tasks.shapes import CROSS, DISTRACTORS, PLUS, Shapes, draw

COUNT = 200  # records of `images`, a twentieth for the test
FORM = dict(form='encoder')


@pytest.fixture
def images(tmp_path):
  """The section `data` of images of 8 x 8 pixels; a label is the side of the bright half."""
  rng = np.random.default_rng(0)
  lines = []
  for number in range(COUNT):
    image = rng.integers(0, 9, size=(8, 8))
    half = number % 3 == 0
    image[:, slice(4, 8) if half else slice(0, 4)] += 8
    label = 'right' if half else 'left'
    lines.append(json.dumps({'image': image.ravel().tolist(), 'label': label}))
  path = tmp_path / 'images.jsonl'
  path.write_text('\n'.join(lines) + '\n')
  return dict(corpus=f'jsonl:{path}', fields=('image', 'label'))


def digits(**arguments):
  return Digits(**dict(classes=2, patch=2) | FORM | arguments)


# Places.


def test_a_larger_image_is_placed_in_three_ways():
  """2 x 2 cells in training, 4 x 4 in the test: the first row and the last cell, by hand."""
  grid = Shapes()
  ends = {
    'kept': ([0, 1, 2, 3], 3), 'centered': ([-1, 0, 1, 2], 2), 'scaled': ([0, 0.5, 1, 1.5], 1.5),
  }
  for placement, (row, last) in ends.items():
    pos = grid.places(4, 2, placement)
    assert pos.dtype == np.float32 and pos.shape == (16, 2)
    first = row[0]
    assert pos[:4].tolist() == [[first, column] for column in row]
    assert pos[4].tolist() == [row[1], first] and pos[-1].tolist() == [last, last]
  line = Shapes(positions='line')
  assert line.places(4, 2)[:, 0].tolist() == [*range(16)]
  assert line.places(4, 2, 'centered')[:, 0].tolist() == [*range(-6, 10)]
  assert line.places(4, 2, 'scaled')[:, 0].tolist() == [i / 4 for i in range(16)]


@pytest.mark.parametrize('positions', ['grid', 'line'])
@pytest.mark.parametrize('side', [2, 5])
def test_an_image_of_the_trained_size_is_placed_once(positions, side):
  task = Shapes(positions=positions)
  first, *others = (task.places(side, side, placement) for placement in PLACEMENTS)
  assert all((first == other).all() for other in others)
  if positions == 'grid':
    assert [*map(tuple, first)] == [*itertools.product(range(side), repeat=2)]


def test_a_row_holds_the_largest_image_that_fits():
  grid, line = digits(), digits(positions='line')
  assert [grid.side(n) for n in (1, 16, 24, 25, 64)] == [1, 4, 4, 5, 8]
  assert (grid.axes, grid.extent(64)) == (2, (8, 8)) and (line.axes, line.extent(64)) == (1, (64,))
  own = digits(pooling='class')
  assert [own.side(n) for n in (16, 17, 64, 65)] == [3, 4, 7, 8]
  assert own.vectors == grid.vectors + 1 == 5


def test_only_kept_places_are_indices():
  whole = digits(placements=('kept',))
  assert whole.pos_dtype == whole.places(4, 2).dtype == 'int32'
  for placement in ('centered', 'scaled'):
    assert digits(placements=(placement, 'kept')).pos_dtype == 'float32'


# Pixels.


def test_patches_are_read_row_by_row():
  image = np.arange(16.0).reshape(4, 4)
  assert patches(image, 2).tolist() == [
    [0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]
  ]
  assert (patches(image, 1)[:, 0] == np.arange(16)).all()


@pytest.mark.parametrize('side', [16, 8, 5, 3])
def test_resizing_is_that_of_jax(float64, side):
  image = np.random.default_rng(0).random((8, 8))
  want = jax.image.resize(image, (side, side), 'linear')
  np.testing.assert_allclose(resized(image, side), want, atol=1e-12)


def test_an_image_that_is_no_square_or_too_bright_is_refused():
  with pytest.raises(UserError, match='^mine: an image has 3 pixels; it must be square$'):
    image_of((('1', '2', '3'), '0'), 16, 'mine')
  message = r'^mine: an image has pixels from 0 to 255; they must be in \[0, 16\], where 16 is'
  with pytest.raises(UserError, match=message):
    image_of((('0', '255', '3', '4'), '0'), 16, 'mine')


# Digits.


def test_digits_are_the_patches_of_their_images(images):
  records = data.load_records(**images)
  test = digits(placements=('kept',)).open(images, 16, [16]).tests['kept']
  rows, [(corner, label)] = test.rows[16], [records.records('test')[0]]
  image = np.array(corner, int).reshape(8, 8)
  want = [image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel()
          for row in range(4) for column in range(4)]
  np.testing.assert_allclose(rows.stream.x[0], np.array(want) / 8 - 1, atol=1e-6)
  assert rows.stream.x.dtype == np.float32
  assert rows.targets[0] == [['left', 'right'].index(label)] and rows.weights.all()
  train = collections.Counter(label for _, label in records.records('train'))
  likely = ['left', 'right'].index(train.most_common(1)[0][0])
  assert test.floors[16]['accuracy'] == np.mean(rows.targets == likely)


def test_tests_differ_in_places_only(images):
  tests = digits().open(images, 16, [16, 64]).tests
  assert [*tests] == ['kept', 'centered', 'scaled']
  first = tests['kept'].rows
  for test in tests.values():
    for n in (16, 64):
      assert (test.rows[n].stream.x == first[n].stream.x).all()
    assert (test.rows[16].stream.pos == first[16].stream.pos).all()
  assert [test.rows[64].stream.pos.max() for test in tests.values()] == [7, 5, 3.5]
  assert tests['kept'].title == 'kept: 10 images of 4 x 4, 8 x 8 cells'


def test_hashes_are_those_of_the_images(images):
  sha256 = lambda **arguments: digits(**arguments).open(images, 16, [16]).sha256
  first = sha256()
  assert first == sha256(positions='line') == sha256(placements=('kept',)) == sha256(rows=1)
  assert len({first, sha256(patch=1), sha256(white=17), sha256(pooling='class')}) == 4


def test_a_class_token_has_no_place_and_a_weight_of_its_own(images):
  rows = digits(pooling='class').open(images, 17, [17]).tests['kept'].rows[17]
  assert (rows.stream.pos[:, 0] == NOWHERE).all() and (rows.stream.pos[:, 1:] >= 0).all()
  marks = rows.stream.x[..., -1]
  assert (marks[:, 0] == 1).all() and not marks[:, 1:].any() and not rows.stream.x[:, 0, :-1].any()


# Several images in a row.


def model(task, encoding='sincos_nd'):
  config, _, _ = run_lib.config_lib.load('nope', [f'--config.encoding.layers={encoding}'])
  return models.from_config(config, task)


@pytest.mark.parametrize('pooling', ['mean', 'class'])
def test_images_of_different_sides_in_a_row_equal_the_images_alone(images, pooling):
  task = digits(pooling=pooling, least=2)
  length = task.tokens(4)
  opened = task.open(images, length, [length])
  assert task.answers(length) == length // task.tokens(2) > 1
  batch = next(pipeline.batches(
    opened.train, name='images', length=3 * length, answers=task.answers(3 * length), batch=2,
    seed=0,
  ))
  own = model(task)
  params = transformer.init(own, jax.random.key(1))
  logits = jax.jit(lambda batch: task.pooled(outputs_of(own, params, batch), batch))
  packed, sides = np.asarray(logits(batch)), set()
  for b, u in zip(*np.nonzero(batch.weights), strict=True):
    real = batch.stream.segment_ids[b] == u
    sides.add(math.isqrt(real.sum()))
    cut = lambda x, b=b, real=real: x[b : b + 1][:, real]
    stream = jax.tree.map(cut, batch.stream)
    stream = stream.replace(segment_ids=np.zeros_like(stream.segment_ids))
    alone = Batch(stream, batch.targets[b : b + 1, u : u + 1], batch.weights[b : b + 1, u : u + 1])
    found = np.asarray(logits(alone))[0, 0]
    np.testing.assert_allclose(packed[b, u], found, rtol=1e-4, atol=1e-5)
  assert len(sides) > 1 and batch.weights.sum() > 4


def test_a_class_token_alone_is_read():
  task = Shapes(pooling='class', **FORM)
  rows = padded([task.make(np.random.default_rng(i), 3, 3) for i in range(2)], 12, 2)
  outputs = np.random.default_rng(0).normal(size=(2, 12, 4)).astype(np.float32)
  pooled = np.asarray(task.pooled(jnp.asarray(outputs), rows))
  np.testing.assert_allclose(pooled[:, 0], outputs[:, 0], rtol=1e-6)
  assert not pooled[:, 1].any()


# Shapes.


def marks(image, mark):
  """Returns the cells [(row, column)] of an image that show a mark."""
  cells = patches(image, 3).reshape(-1, 3, 3)
  side = math.isqrt(len(cells))
  return [divmod(i, side) for i, cell in enumerate(cells) if (cell == mark).all()]


def test_the_class_is_the_direction_from_the_cross_to_the_plus():
  classes = collections.Counter()
  for seed in range(400):
    image, kind = draw(np.random.default_rng(seed), 5, 0.25)
    [plus], [cross] = marks(image, PLUS), marks(image, CROSS)
    assert plus[0] != cross[0] and plus[1] != cross[1]
    assert kind == 2 * (plus[0] > cross[0]) + (plus[1] > cross[1])
    classes[kind] += 1
  assert all(abs(count - 100) < 40 for count in classes.values()) and len(classes) == 4


def test_a_bag_of_patches_does_not_tell_the_class():
  """Marks of a class are those of another class in other cells: the same draws, and only these."""

  class Chosen:
    """A generator whose first whole number is given."""

    def __init__(self, kind):
      self.rng, self.kind = np.random.default_rng(7), [kind]

    def integers(self, *args, **named):
      number = self.rng.integers(*args, **named)
      return self.kind.pop() if self.kind else number

    def __getattr__(self, name):
      return getattr(self.rng, name)

  for kind in range(4):
    image, found = draw(Chosen(kind), 6, 0.0)
    assert found == kind
    bag = collections.Counter(patches(image, 3).sum(axis=1))
    assert bag == {0: 34, 5: 2}
  assert {mark.sum() for mark in (PLUS, CROSS, *DISTRACTORS)} == {5}


def test_distractors_fill_their_share_of_the_other_cells():
  images = [draw(np.random.default_rng(seed), 8, 0.25)[0] for seed in range(200)]
  counts = [sum(len(marks(image, mark)) for image in images) for mark in DISTRACTORS]
  mean, deviation = 0.125 * 62 * 200, math.sqrt(0.125 * 0.875 * 62 * 200)
  assert all(abs(count - mean) < 4 * deviation for count in counts)


def test_an_encoder_without_positions_cannot_learn_shapes():
  """Two images with the same bag have the same outputs, whatever the weights."""
  task = Shapes(**FORM)
  one = task.make(np.random.default_rng(0), 4, 4)
  order = np.random.default_rng(1).permutation(16)
  other = one._replace(x=one.x[order])
  own = model(task, 'nope')
  params = transformer.init(own, jax.random.key(0))
  batch = padded([one, other], 16, 1)
  first, second = jax.jit(lambda: task.pooled(outputs_of(own, params, batch), batch))()
  np.testing.assert_allclose(first, second, atol=1e-5)
  opened = task.open(None, 16, [16, 64])
  assert opened.tests['kept'].floors == dict.fromkeys((16, 64), {'accuracy': 0.25})


# Pixels as tokens.


def test_a_pixel_is_predicted_from_those_before_it(images):
  records = data.load_records(**images)
  rows = Pixels(classes=2).open(images, 64, [64, 256]).tests['kept'].rows[64]
  for x, targets, pos, (image, label) in zip(
    rows.stream.x, rows.targets, rows.stream.pos, records.records('test'), strict=True
  ):
    assert targets.tolist() == [*map(int, image)] and x[1:].tolist() == targets[:-1].tolist()
    assert x[0] == 17 + ['left', 'right'].index(label)
    assert [*map(tuple, pos)] == [*itertools.product(range(8), repeat=2)]
  assert (Pixels().open(images, 64, [64]).tests['kept'].rows[64].stream.x[:, 0] == 17).all()
  assert (Pixels().vocabulary, Pixels(classes=2).vocabulary) == (18, 19)
  assert Pixels().outputs == Pixels(classes=2).outputs == 17


def test_the_guess_knows_the_frequencies_of_each_pixel():
  train, test = np.array([[0, 1], [0, 2]]), np.array([[0, 2], [1, 2]])
  p = [3 / 5 * 2 / 5, 1 / 5 * 2 / 5]  # one more of each of three numbers
  assert bits(train, test, 3) == pytest.approx(-sum(map(math.log2, p)) / 4)


def test_bits_of_uniform_outputs(images):
  task = Pixels()
  rows = task.open(images, 64, [64]).validation
  values, weights = task.metrics(jnp.zeros((*rows.weights.shape, 17)), rows)['bits/pixel']
  assert np.average(values, weights=weights) == pytest.approx(math.log2(17))


# All.


def tasks(images):
  return {Shapes(least=2, **FORM): None, digits(least=2): images, Pixels(): images}.items()


def test_rows_resume_bitwise(images):
  for task, corpus in tasks(images):
    opened = task.open(corpus, 36, [36])
    make = lambda seed, task=task, opened=opened: pipeline.batches(
      opened.train, name='images', length=36, answers=task.answers(36), batch=4, seed=seed
    )
    run, other = make(0), make(1)
    first, shapes = next(run), task.row(36)
    assert (first.stream.x != next(other).stream.x).any()
    same = lambda x, shape: (x.shape[1:], x.dtype) == (shape.shape[1:], shape.dtype)
    assert all(jax.tree.leaves(jax.tree.map(same, first, shapes)))
    saved = run.get_state()
    want = [next(run) for _ in range(3)]
    resumed = make(0)
    resumed.set_state(saved)
    for batch in want:
      jax.tree.map(np.testing.assert_array_equal, batch, next(resumed))


def test_validation_has_the_types_of_training(images):
  for task, corpus in tasks(images):
    opened, shapes = task.open(corpus, 16, [16, 64]), task.row(16)
    for rows in (opened.validation, opened.tests['scaled'].rows[64]):
      assert rows.stream.x.dtype == shapes.stream.x.dtype
      assert rows.stream.pos.dtype == shapes.stream.pos.dtype


def refused(line):
  with pytest.raises(UserError) as raised:
    state.build(run_lib.parse(['posjax', *line.split()]).config)
  return str(raised.value)


@pytest.mark.parametrize(('line', 'message'), [
  ('shapes --config.task.shapes.positions=grids',
   'task.shapes.positions = grids: did you mean grid? It must be one of grid, line'),
  ('shapes --config.task.shapes.placements=kept,scale',
   'task.shapes.placements = scale: did you mean scaled? It must be one of kept, centered, scaled'),
  ('shapes --config.train.length=3',
   'train.length = 3: must be at least 4, an image of 2 x 2 cells'),
  ('shapes --config.task.shapes.pooling=class --config.task.shapes.positions=line',
   'task.shapes.pooling = class: needs positions = grid; in a line, each token has a place'),
  ('shapes --config.train.length=40 --config.task.shapes.least=7',
   'task.shapes.least = 7: must be in [2, 6], as an image of train.length = 40 has 6 x 6 cells; '
   'or 0'),
  ('shapes --config.task.shapes.clutter=2.0',
   'task.shapes.clutter = 2.0: must be in [0, 1]'),
  ('digits --config.task.digits.patch=0', 'task.digits.patch = 0: must be at least 1'),
  ('pixels --config.task.pixels.white=0', 'task.pixels.white = 0: must be at least 1'),
  ('pixels --config.task.pixels.rows=0', 'task.pixels.rows = 0: must be positive'),
])
def test_wrong_command_lines_are_refused(line, message):
  assert refused(f'--config=nope --config.task.name={line}') == message


def test_an_encoding_of_one_axis_needs_a_line(images):
  line = '--config=rope --config.task.name=shapes'
  task, own = state.build(run_lib.parse(
    ['posjax', *line.split(), '--config.task.shapes.positions=line']
  ).config)
  assert own.axes == task.axes == 1
  with pytest.raises(UserError, match='it reads 1 position axis, but the positions have 2'):
    transformer.init(state.build(run_lib.parse(['posjax', *line.split()]).config)[1],
                     jax.random.key(0))


def test_an_encoding_of_whole_positions_refuses_fractions():
  line = '--config=learned --config.task.name=shapes --config.task.shapes.positions=line'
  assert refused(line) == (
    'encoding.learned: it represents the positions 0, 1, 2, …, but those of task shapes may be '
    'negative or fractions'
  )
  state.build(run_lib.parse(
    ['posjax', *line.split(), '--config.task.shapes.placements=kept']
  ).config)


def test_the_digits_of_scikit_learn():
  """The file of the installed library, without its code, equals what the library reads."""
  library = pytest.importorskip('sklearn.datasets')
  path = pathlib.Path(library.__file__).parent / 'data/digits.csv.gz'
  found = [*package_readers.labelled_images([path.read_bytes()])]
  bunch = library.load_digits()
  assert np.array([image for image, _ in found], float).tolist() == bunch.data.tolist()
  assert [int(label) for _, label in found] == bunch.target.tolist()
  counts = collections.Counter(label for _, label in found)
  assert [counts[f'{label}'] for label in range(10)] == [
    178, 182, 177, 183, 181, 182, 181, 179, 174, 180
  ]


MNIST = """
import sys
import tensorflow_datasets as tfds
from posjax.data import prepared
from posjax.tasks.digits import Digits
prepared._check_network = lambda urls: None
corpus = dict(corpus='tfds:mnist', directory=sys.argv[1], fields=('image', 'label'),
              train='train[:90%]', validation='train[90%:]')
with tfds.testing.mock_data(num_examples=200):
  opened = Digits(patch=7, white=255).open(corpus, 16, [16, 64])
  rows = opened.tests['kept'].rows
  assert rows[16].stream.x.shape == (200, 16, 49) and rows[64].stream.x.shape == (200, 64, 49)
  assert -1 <= rows[16].stream.x.min() < -0.9 and 0.9 < rows[16].stream.x.max() <= 1
  assert {*rows[16].targets[:, 0].tolist()} == {*range(10)}
assert 'tensorflow' not in sys.modules
"""


@pytest.mark.slow
def test_mnist_of_tfds_with_mocked_images(tmp_path):
  subprocess.run([sys.executable, '-c', MNIST, str(tmp_path)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(('config', 'metric', 'better'), [
  ('digits', 'accuracy', 1), ('shapes', 'accuracy', 1), ('pixels', 'bits/pixel', -1),
])
def test_a_run_learns_and_is_tested_at_both_sizes(tmp_path, images, config, metric, better):
  flags = [
    f'--config.data.corpus={images["corpus"]}', '--config.train.steps=60',
    '--config.optimizer.warmup=6', '--config.evaluate.multiples=1,4', '--config.writers=',
    f'--workdir={tmp_path}/run',
  ]
  flags += {'digits': ['--config.task.digits.classes=2'], 'shapes': [],
            'pixels': ['--config.task.pixels.classes=0']}[config]
  subprocess.run(
    [sys.executable, '-m', 'posjax.main', f'--config=configs/tasks/{config}.py', *flags], check=True
  )
  result = json.loads((tmp_path / 'run/evaluation.json').read_text())
  found = {
    (r['test'], r['length']): r for r in result['records'] if r['metric'] == metric
  }
  short, long = sorted({length for _, length in found})
  assert {test for test, _ in found} == {*PLACEMENTS} and long == 4 * short
  assert all(r['value'] is not None for r in found.values())
  first = found['kept', short]
  assert better * (first['value'] - first['floor']) > 0
