"""Scenes: captions read by another parser, chance, positions of Qwen2-VL, and what follows them."""

import dataclasses
import itertools
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from posjax import config as config_lib
from posjax import decoding, generate, main, state, tasks, texts
from posjax.batch import Batch, Example, Stream, padded
from posjax.beam import beam_search
from posjax.data import BOS, EOS, SEP, pipeline
from posjax.encodings.rope_nd import RopeNd
from posjax.errors import UserError
from posjax.models import transformer
from posjax.models.pattern import Pattern
from posjax.models.transformer import outputs_of
from posjax.tasks.core.grids import mrope
from posjax.tasks.scenes import Scenes, segments

TASK = Scenes(form='decoder', rows=8, images=2, block=3, side=4)
SIZE = TASK.largest(64)


def text(tokens):
  return bytes(token for token in np.asarray(tokens).tolist() if token < 256).decode()


def ids(line):
  return np.array([*line.encode()])


def scenes(count, task=TASK, size=SIZE, **how):
  """Returns texts with images, and captions, as text."""
  rng = np.random.default_rng(0)
  return [tuple(map(text, task.make(rng, size, **how))) for _ in range(count)]


# Captions.


def read(scene):
  """Returns the caption of a text with images, and {object: (image, row, column)}."""
  cells = {}
  for number, found in enumerate(re.findall(r'\[(.*?)\]', scene)):
    for i, row in enumerate(found.split('/')):
      for j, cell in enumerate(row):
        if cell != '.':
          assert cell not in cells
          cells[cell] = number, i, j
  by_columns = lambda cell: (cells[cell][0], cells[cell][2], cells[cell][1])
  return ''.join(sorted(cells, key=by_columns if scene[-1] == '_' else cells.get)), cells


def test_captions_name_the_objects_in_reading_order():
  signs, numbers = '', set()
  for scene, caption in scenes(400):
    assert caption == read(scene)[0] and len(scene) == SIZE
    assert re.fullmatch(r'([a-z]*\[([A-T./]+)\]){1,2}[a-z]*[>_]', scene)
    signs, numbers = signs + scene[-1], numbers | {(scene.count('['), len(caption))}
    for found in re.findall(r'\[(.*?)\]', scene):
      rows = found.split('/')
      assert {len(rows), len(rows[0])} <= {3, 4} and len({*map(len, rows)}) == 1
  assert abs(signs.count('>') - 200) < 4 * math.sqrt(100)
  assert {1, 2, 3, 4, 6, 9} == {size for images, size in numbers if images == 1}
  assert {2, 18} <= {size for images, size in numbers if images == 2}


def test_tests_have_blocks_of_nine_objects_anywhere_in_two_images():
  corners = set()
  for scene, caption in scenes(400, full=True):
    cells = [*read(scene)[1].values()]
    assert len(caption) == 18
    for number in (0, 1):
      places = [place[1:] for place in cells if place[0] == number]
      corner = tuple(np.min(places, axis=0))
      assert [*places] == [*itertools.product(*(range(at, at + 3) for at in corner))]
      corners.add(corner)
  assert corners == {*itertools.product(range(2), repeat=2)}


def test_text_is_before_between_and_after_the_images():
  lengths = np.array([
    [len(part) for part in re.split(r'\[.*?\]', scene)]
    for scene, _ in scenes(1000, size=150, full=True)
  ]) - [0, 0, 1]
  assert (lengths.min(axis=0) == 0).all() and (lengths.max(axis=0) > 100).all()
  error = lengths.std(axis=0) / math.sqrt(1000)
  assert (abs(lengths.mean(axis=0) - lengths.mean()) < 4 * error).all()


def test_a_caption_changes_if_any_two_objects_change_places():
  scene, caption = scenes(1, full=True)[0]
  for one, other in itertools.combinations(caption, 2):
    changed = scene.translate(str.maketrans(one + other, other + one))
    assert sorted(changed) == sorted(scene) and read(changed)[0] != caption


def test_a_guess_without_places_is_right_as_often_as_stated():
  """It names the objects of an image in alphabetical order, and then knows the true ones."""
  right, exact = [], []
  task = dataclasses.replace(TASK, images=1)
  for _, caption in scenes(2000, task, full=True):
    left, own = sorted(caption), []
    for true in caption:
      own.append(left[0] == true)
      left.remove(true)
    right.append(np.mean(own))
    exact.append(sorted(caption)[:2] == [*caption[:2]])
  error = np.std(right) / math.sqrt(len(right))
  assert task.guess(SIZE) == pytest.approx(np.mean(right), abs=4 * error)
  assert np.mean(exact) == pytest.approx(1 / 72, abs=4 * math.sqrt(1 / 72 / 2000))
  assert TASK.guess_exact(SIZE) == pytest.approx(math.prod(1 / n for n in range(1, 10)) ** 2)


def test_rows_are_laid_out_and_scored_like_pairs():
  example = TASK.example(np.random.default_rng(3), SIZE)
  scene, caption = map(text, TASK.make(np.random.default_rng(3), SIZE))
  assert [*example.x] == [BOS, *scene.encode(), SEP, *caption.encode()]
  assert [*example.targets[example.weights]] == [*caption.encode(), EOS]
  rows = TASK.test_rows(64)
  wrong = np.array(['>' not in text(x) for x in rows.stream.x])
  outputs = jax.nn.one_hot(np.where(wrong[:, None], 0, rows.targets), TASK.vocabulary)
  found = TASK.metrics(outputs, rows)
  mean = lambda name: float(np.average(found[name][0], weights=found[name][1]))
  assert 0 < wrong.sum() < 8
  assert (mean('by rows'), mean('by columns')) == (1, 0)
  assert mean('exact match') == mean('token accuracy') == 1 - wrong.mean()


# Positions.


def test_positions_are_those_of_qwen2_vl():
  """'ab[', an image of 2 x 3 cells and the ends of its rows, 'c[', one of 3 x 1, 'de'.

  The first image begins at 3 and has 4 columns: text goes on at 7; the second begins at 9 and has
  3 rows, so that text goes on at 12.
  """
  tokens = ids('ab[X../.Y.]c[X/./Y]de')
  assert segments(tokens) == [3, (1, 2, 4), 2, (1, 3, 2), 2]
  expected = [
    *'000 111 222'.split(), *'333 334 335 336 343 344 345 346'.split(), *'777 888'.split(),
    *'999 99a 9a9 9aa 9b9 9ba'.split(), *'ccc ddd'.split(),
  ]
  want = [[int(digit, 16) for digit in row] for row in expected]
  np.testing.assert_array_equal(TASK.prompt_positions(tokens), want)


def test_text_goes_on_after_the_largest_position():
  for line, want in (('ab', 2), ('ab[X../.Y.]', 7), ('[X/./.]', 4), ('[X/./.]a', 5)):
    after = TASK.position_after(TASK.prompt_positions(ids(line)))
    assert [*after] == [want] * 3 and after[0] == mrope(segments(ids(line)))[1]
  # For a prompt that ends with an image, this is not one more on each axis.
  assert [*tasks.Task().position_after(TASK.prompt_positions(ids('[X/./.]')))] == [2, 4, 3]


def test_a_line_of_positions_has_the_same_tokens_and_the_same_hash():
  line = dataclasses.replace(TASK, positions='line')
  assert (TASK.axes, TASK.counts, line.axes, line.counts) == (3, False, 1, True)
  one, other = (task.open(None, 64, [64]) for task in (TASK, line))
  assert (one.name, one.sha256) == (other.name, other.sha256)
  mine, lines = one.tests['scenes'].rows[64], other.tests['scenes'].rows[64]
  np.testing.assert_array_equal(mine.stream.x, lines.stream.x)
  np.testing.assert_array_equal(mine.targets, lines.targets)
  assert mine.stream.pos.shape == (8, 64, 3) and lines.stream.pos is None


@pytest.mark.parametrize('line', ['[X./Y]', 'a[X', 'a]b', '[[X]', '[X./..]]'])
def test_images_in_prompts_are_checked(line):
  with pytest.raises(UserError, match=r'^the (text has a|rows of the image) '):
    TASK.prompt_positions(ids(line))


# Lengths.


def test_longer_rows_have_more_text_or_larger_images():
  opened = TASK.open(None, 64, [64, 128, 256])
  sides = {64: {3, 4}, 128: {5, 6}, 256: {9, 10}}
  for n in sides:
    rows = {name: opened.tests[name].rows[n] for name in opened.tests}
    for name, own in rows.items():
      assert (own.weights.sum(axis=1) == 19).all() and own.stream.x.shape == (8, n)
      assert (own.stream.segment_ids == 0).all()  # rows are full
      images = [found for x in own.stream.x for found in re.findall(r'\[(.*?)\]', text(x))]
      found = {len(side) for image in images for side in (image.split('/'), image.split('/')[0])}
      assert found == sides[n if name == 'larger' else 64]
  assert '4, 6, 10 rows and columns' in opened.tests['larger'].title


def test_rows_that_are_too_short_are_refused():
  with pytest.raises(UserError, match=re.escape('train.length = 62: must be at least 63')):
    tasks.build('scenes', 62, scenes=dict(images=2, block=3, side=4))
  with pytest.raises(UserError, match=re.escape(
    'evaluate.multiples: rows of 32 tokens are too short; the smallest problem of scenes needs 63'
  )):
    TASK.open(None, 64, [64, 32])


@pytest.mark.parametrize(('arguments', 'message'), [
  (dict(images=6), 'task.scenes.images = 6: must be in [1, 5], for 20 different objects'),
  (dict(images=3, block=3), 'task.scenes.images = 3: must be in [1, 2], for 20 different objects'),
  (dict(block=5), 'task.scenes.block = 5: must be in [2, 4]'),
  (dict(side=2), 'task.scenes.side = 2: must be at least 3'),
  (dict(positions='lines'), 'task.scenes.positions = lines: did you mean line? It must be one of'),
])
def test_invalid_arguments_are_refused(arguments, message):
  with pytest.raises(UserError, match=re.escape(message)):
    tasks.build('scenes', 64, scenes=arguments)


def test_rows_resume_bitwise():
  make = lambda: pipeline.batches(
    TASK.open(None, 64, [64]).train, name='scenes', length=128, answers=128, batch=4, seed=0
  )
  run, resumed = make(), make()
  next(run)
  saved = run.get_state()
  want = next(run)
  resumed.set_state(saved)
  jax.tree.map(np.testing.assert_array_equal, want, next(resumed))
  assert want.stream.segment_ids.max() >= 1
  starts = want.stream.x == BOS
  assert (want.stream.pos[starts] == 0).all() and starts.sum() >= 8


# Models.


@pytest.fixture(scope='module')
def problem():
  """A model of M-RoPE with large random weights, so that its likeliest tokens vary."""
  sizes = dict(dim=32, layers=2, heads=2, kv_heads=1, head_dim=16, hidden=32, dtype='float64')
  model = transformer.Transformer(
    pattern=None, vocabulary=TASK.vocabulary, axes=3, **sizes,
    attention=FrozenDict(implementation='reference'),
  )
  encoding = RopeNd(planes=dict(layout='interleaved', base=100.0)).with_dims(model.dims)
  model = model.clone(pattern=Pattern((encoding,)))
  with jax.enable_x64(True):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) / 2), shapes)
  return model, params


PROMPTS = (
  [BOS, *b'ab[X../.Y.]'], [BOS, *b'[X/./Y/.]'], [BOS, *b'ab[X../.Y.]c[X/./Y]d>', SEP],
)


def whole(prompt, new):
  """Returns a prompt and what follows as one example, its positions by segments."""
  x = np.array([*prompt, *new])
  *parts, last = segments(np.array(prompt))
  return Example(x, x, np.ones(len(x), bool), mrope([*parts, last + len(new)])[0])


def test_tokens_generated_after_an_image_equal_those_of_one_forward_pass(problem, float64):
  """The cache, the first position after the image, and beams: 20 tokens, exactly equal."""
  model, params = problem
  pos = [TASK.prompt_positions(np.array(prompt)) for prompt in PROMPTS]
  after = [TASK.position_after(own) for own in pos]
  padded_prompts = decoding.pad([np.array(prompt) for prompt in PROMPTS], pos=pos, after=after)

  def continued(prompts):
    chunks = decoding.generate(
      model, params, prompts, tokens=20, rng=jax.random.key(0), temperature=0.0, top_k=0,
      top_p=1.0, never=(EOS, *b'[]'),
    )
    return np.concatenate([*chunks], axis=1)

  greedy = continued(padded_prompts)
  counted = continued(padded_prompts.replace(after=None))
  assert [*(greedy == counted).all(axis=1)] == [False, False, True]  # the last ends with text
  beams, _ = beam_search(
    model, params, padded_prompts, tokens=20, beams=1, penalty=0.0, end=EOS, never=(EOS, *b'[]'),
    rng=jax.random.key(0),
  )
  for prompt, new, beam in zip(PROMPTS, greedy, beams, strict=True):
    batch = padded([whole(prompt, new)], len(prompt) + 20, len(prompt) + 20)
    outputs = np.array(outputs_of(model, params, batch))[0, len(prompt) - 1 : -1]
    outputs[:, [EOS, *b'[]']] = -np.inf
    np.testing.assert_array_equal(new, outputs.argmax(axis=-1))
    np.testing.assert_array_equal(beam, new)
    assert len(np.unique(new)) > 3


def test_packed_scenes_equal_scenes_alone(problem, float64):
  model, params = problem
  examples = [TASK.example(np.random.default_rng(seed), SIZE) for seed in (0, 1)]
  sizes = [len(example.x) for example in examples]
  join = lambda key: np.concatenate([getattr(example, key) for example in examples])[None]
  segment_ids = np.repeat([0, 1], sizes)[None]
  row = Batch(Stream(join('x'), join('pos'), segment_ids), join('targets'), join('weights'))
  packed = outputs_of(model, params, row)[0]
  for example, own in zip(examples, np.split(packed, [sizes[0]]), strict=True):
    alone = outputs_of(model, params, padded([example], len(example.x), len(example.x)))[0]
    np.testing.assert_allclose(own, alone, rtol=1e-9, atol=1e-9)


class Scored(Scenes):
  scored_texts = 3

  def score(self, outputs, references, sources):
    return {'exact': float(np.mean([a == b for a, b in zip(outputs, references, strict=True)]))}


@pytest.mark.parametrize('positions', ['mrope', 'line'])
def test_scored_texts_are_generated_from_positions_of_their_images(monkeypatch, positions):
  config, _, _ = config_lib.load('configs/tasks/scenes.py', [])
  task, asked = Scored(form='decoder', rows=3, positions=positions, images=3), []

  def beam_search(model, params, prompts, **how):
    asked.append(prompts)
    captions = [read(text(tokens).rstrip('\0'))[0] for tokens in prompts.tokens]
    return [ids(caption) for caption in captions], None

  monkeypatch.setattr(texts, 'beam_search', beam_search)
  _, scores = texts.score(config, task, None, None, task.open(None, 64, [64]))
  assert scores == {'exact': 1.0}
  [prompts] = asked
  if positions == 'line':
    assert prompts.pos is None and prompts.after is None
    return
  for tokens, padding, pos, after in zip(
    prompts.tokens, prompts.padding, prompts.pos, prompts.after, strict=True
  ):
    want, resume = mrope(segments(tokens[padding:]))
    np.testing.assert_array_equal(pos[padding:], want)
    assert [*after] == [resume] * 3


def test_a_prompt_with_an_image_is_continued_after_its_largest_position(monkeypatch, capsys):
  config, _, _ = config_lib.load('configs/tasks/scenes.py', [])
  asked, prompt = [], 'ab[X../.Y.]c>'

  def spy(model, params, prompts, **how):
    asked.append(prompts)
    yield np.array([[*b'XY', EOS, *b'Z']])

  monkeypatch.setattr(generate, 'generate', spy)
  monkeypatch.setattr(state, 'load', lambda *_: state.Saved(state.build(config)[1], None, 1, {}))
  generate.run(config, 'workdir', checkpoint='newest', prompt=prompt)
  assert capsys.readouterr().out == f'{prompt}\nXY\n'
  [prompts] = asked
  want, after = mrope([4, (1, 2, 4), 3])  # BOS ab[, the image, c> SEP
  np.testing.assert_array_equal(prompts.pos[0, prompts.padding[0] :], want)
  assert prompts.after.tolist() == [[after] * 3] == [[11] * 3]


@pytest.mark.slow
def test_sixty_steps_learn_and_continue_a_prompt_with_images(tmp_path, capsys):
  """The loss falls below that of a caption of random objects, log 20 for each."""
  run = (f'--workdir={tmp_path}',)
  assert main.run([
    'posjax', '--config=configs/tasks/scenes.py', *run, '--config.train.steps=60',
    '--config.optimizer.warmup=10', '--config.task.scenes.rows=32', '--config.writers=()',
  ]) == 0
  result = json.loads((tmp_path / 'evaluation.json').read_text())
  found = {(r['test'], r['metric'], r['length']): r['value'] for r in result['records']}
  assert found['scenes', 'nats/token', 32] < math.log(20) < math.log(TASK.vocabulary)
  assert all(found['larger', metric, 64] >= 0 for metric in TASK.shown)
  capsys.readouterr()
  prompt = 'ab[X../.Y./...]c>'
  assert main.run(['posjax', *run, '--mode=generate', f'--prompt={prompt}']) == 0
  assert capsys.readouterr().out.startswith(f'{prompt}\n')
