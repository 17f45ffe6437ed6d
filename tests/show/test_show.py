"""Shown facts of an encoding match its equation; the picture, the table and the page agree."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import encodings
from posjax.dims import Dims
from posjax.encodings import alibi, rope, t5
from posjax.show import __main__ as show
from posjax.show import frequencies, grid, page, picture, probe, words
from tests.show.test_grid import check_grid

first_look = show.look  # a test replaces it


@functools.cache
def look(name, *overrides):
  return first_look(name, overrides, 'initial')


def facts_of(name, *overrides):
  (facts,) = look(name, *overrides)
  return facts


def test_alibi_is_its_slope_times_the_distance():
  facts = facts_of('alibi')
  assert facts.kind == 'bias' and facts.moved == 0 and not len(facts.theta)
  assert [*facts.heads] == ['head 1', 'head 2', 'head 3', 'head 4']
  for curve in (facts.trained, facts.extended):
    want = -alibi.slopes(4)[:, None] * np.arange(curve.length)
    np.testing.assert_allclose(curve.by_head, want, 1e-12, 1e-12)
  i, j = np.indices((64, 64))
  want = np.where(j <= i, -alibi.slopes(4)[:, None, None] * (i - j), np.nan)
  np.testing.assert_allclose(facts.picture, want, 1e-12, 1e-12)


def test_rope_is_the_mean_cosine():
  facts = facts_of('rope', '--config.encoding.rope.base=500000')
  theta = rope.frequencies(16, 500_000)
  np.testing.assert_allclose(facts.theta, theta, 1e-8)
  assert facts.kind == 'mean logit' and [*facts.heads] == ['all heads'] and facts.moved < 1e-12
  want = np.cos(np.arange(256)[:, None] * theta).mean(axis=1)
  np.testing.assert_allclose(facts.extended.by_head[3], want, 1e-12, 1e-12)


def test_scalings_are_shown_next_to_the_unscaled_encoding():
  """Interpolated by 4, the longer text has the curve of the trained length without scaling."""
  given = 'rope_type=linear', 'factor=4'
  facts = facts_of('rope', *(f'--config.encoding.rope.scaling.{text}' for text in given))
  np.testing.assert_allclose(facts.unscaled.theta, rope.frequencies(16), 1e-8)
  np.testing.assert_allclose(facts.theta, rope.frequencies(16) / 4, 1e-8)
  plain = facts.unscaled.extended.by_head[0, :64]
  np.testing.assert_allclose(facts.extended.by_head[0, ::4], plain, 1e-9)


def test_sinusoids_are_products_of_two_positions():
  """All channels and both signs, so products with the content have canceled."""
  facts = facts_of('sinusoidal')
  theta = rope.frequencies(64)
  np.testing.assert_allclose(facts.theta, theta, 1e-8)
  want = np.cos(np.arange(64)[:, None] * theta).mean(axis=1) / 2
  np.testing.assert_allclose(facts.trained.by_head[1], want, 1e-12, 1e-12)


def test_t5_is_its_table():
  facts = facts_of('t5')
  with jax.enable_x64(True):
    table_RN = probe.first_weights(facts.encoding, 0)['table_RN']
  want = table_RN[np.asarray(t5.bucket(jnp.arange(64)))].T
  np.testing.assert_allclose(facts.trained.by_head, want, 1e-12, 1e-12)
  assert facts.weights == (('table_RN', (32, 4), False),)


def test_stick_breaking_weights_are_geometric_for_equal_tokens():
  """Each of equal tokens takes the same share of the remainder after nearer tokens."""
  facts = facts_of('stick_breaking')
  share = 1 / (1 + np.exp(-1))
  want = np.log(share) + np.log(1 - share) * np.arange(63)
  assert facts.kind == 'log weight' and np.isnan(facts.trained.by_head[:, 0]).all()
  np.testing.assert_allclose(facts.trained.by_head[0, 1:], want, 1e-9)


def test_windows_end_curves_and_layers_are_shown_separately():
  local, everywhere = look('local_global')
  assert (local.layer.window, everywhere.layer.window) == (32, 0)
  assert np.isnan(local.trained.by_head[0]).sum() == 32
  last = words.number(local.trained.by_head[0, 31])
  assert last in words.text(local) and f'all heads  {last}' in [
    text.get_text() for text in picture.figure([local]).subfigs[0].subfigs[1].axes[0].texts
  ]
  np.testing.assert_allclose(everywhere.theta, rope.frequencies(16, 1e6), 1e-8)


def test_slow_sinusoids_lose_no_digits():
  theta = np.array([3.0, 1.0, 1e-3, 1e-6])

  def channels(pos_R):
    p = np.asarray(pos_R, np.float64)
    angle = p[:, None] * theta + [0, 1, 2, 3]
    others = [np.ones(len(p)), np.zeros(len(p)), np.sqrt(p + 1), 1 + np.cos(1e-3 * p)]
    return np.concatenate([np.cos(angle), 2 * np.sin(angle), np.stack(others, -1)], axis=-1)

  np.testing.assert_allclose(frequencies.sinusoids(channels), theta, 1e-9)


def check_picture(facts):
  """Asserts that drawn values equal printed values, including the number at each head's line."""
  near, far, *tiles = picture.figure([facts]).subfigs[0].subfigs[1].axes
  heading, *rows = words.table(facts)
  printed = words.text(facts)
  for ax, curve in ((near, facts.trained), *([(far, facts.extended)] if facts.extended else [])):
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    named = [text.get_text() for text in ax.texts]
    for label, n in facts.heads.items():
      np.testing.assert_array_equal(lines[label], curve.by_head[n])
      cells = next(row[1:] for row in rows if row[0] == f'{curve.length:,} tokens, {label}')
      for distance, cell in zip(heading[1:], cells, strict=True):
        d = int(distance.replace(',', ''))
        assert cell == (words.number(lines[label][d]) if d < curve.length else '-')
      last = words.number(curve.by_head[n][~np.isnan(curve.by_head[n])][-1])
      assert f'{label}  {last}' in named and last in cells and last in printed
  images = [ax.images[0].get_array() for ax in tiles if ax.images]
  for image, n in zip(images, facts.heads.values(), strict=True):
    np.testing.assert_array_equal(np.ma.filled(image, np.nan), facts.picture[n])


def test_the_picture_contains_the_printed_numbers():
  check_picture(facts_of('alibi'))


def test_wavelengths_are_drawn_as_printed():
  facts = facts_of('rope', '--config.encoding.rope.base=500000')
  ax = picture.figure([facts]).subfigs[0].subfigs[1].axes[-1]
  dots = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == 'o'])
  np.testing.assert_allclose(np.sort(dots), 2 * np.pi / facts.theta)
  assert ax.lines[-2].get_xdata()[0] == 64  # the trained length
  assert words.figure(dots.max()) in words.text(facts)


def test_a_command_writes_a_picture_and_prints_the_facts(tmp_path, capsys):
  assert show.main(['alibi', '--alibi.bias_max=4', f'--out={tmp_path}']) == 0
  said = capsys.readouterr().out
  assert (tmp_path / 'alibi-alibi.bias_max=4.png').stat().st_size > 20_000
  for part in (
    'alibi(bias_max=4.0', 'arXiv 2108.12409', 'A_ij = q_i . k_j / sqrt(H) - m_n |i - j|',
    'linear in the distance from 0 on', 'not fused, which has no position_bias',
    '-31.5', 'parameters   0\n',
  ):
    assert part in said


@pytest.mark.parametrize(('line', 'message'), [
  ('alibbi', 'alibbi: no such encoding or config; did you mean alibi? It must be one of'),
  ('alibbi', 'did you mean alibi?'),
  ('randomize+rop', "there is no encoding 'rop'; did you mean 'rope'?"),
  ('rope+', "there is no encoding ''"),
  ('ALiBi+rope', "did you mean 'alibi'?"),
  ('rope:huge', 'must be one of tiny'),
  ('rope --rope.bace=1', 'did you mean encoding.rope.base'),
  ('rope --rope.base=x', 'encoding.rope.base = x: must be a number'),
  ('rope --rope.layout=both', "layout is 'both'"),
  ('rope --base=1', '--base=1: no such flag'),
  ('rope --rope.base 1', '--rope.base: no such flag'),
  ('', 'name what to show, or --all'),
  ('rope --all', 'name what to show, or --all'),
  ('rope --workdir=runs', 'name what to show, or --all, or --workdir=RUN'),
  ('rope --grid=8', '--grid=8: must be two or three sizes, such as 8,8 or 3,6,6'),
  ('rope --grid=8,x', '--grid=8,x: must be two or three sizes'),
  ('rope --grid=100,100', '--grid=100,100: 10,000 cells; at most 4,096 are shown'),
  ('--all --grid=8,8', '--grid: only with NAME'),
  ('--workdir=runs --weights=normal', '--weights: only with NAME or --all'),
  ('rope --example=1', '--example: only with --workdir'),
  ('--workdir=runs --example=-1', '--example=-1: must be the number of a row'),
  ('--workdir=runs --checkpoint=last', '--checkpoint=last: it must be newest, best or a step'),
  ('--workdir=no/such/run', 'no/such/run: no checkpoint is here; train first'),
  ('rope --grid=8,8', 'encoding.rope: it reads 1 position axis, but the positions have 2'),
  ('alibi@0+alibi@2', 'there is no axis 2: positions have 2'),
  ('swin --swin.window=7 --grid=8,8', '--grid is 8, and encoding.swin represents 7 positions'),
  ('fox@0+alibi@1', 'it is causal only, and a grid is read by an encoder'),
])
def test_mistakes_are_one_line(line, message, capsys):
  assert show.main(line.split()) == 2
  said = capsys.readouterr()
  assert message in said.err and said.err.count('\n') == 1 and not said.out


@pytest.mark.parametrize('line', [
  'stick_breaking --config.model.windows=1', 'stick_breaking --config.model.chunks=1',
  'stick_breaking --config.train.length=1 --config.task.text.stride=1',
])
def test_a_layer_that_sees_nothing_is_one_line(line, capsys):
  assert show.main(line.split()) == 2
  said = capsys.readouterr().err
  assert said.startswith('posjax: stick_breaking: no query sees a key') and said.count('\n') == 1


def test_a_head_that_sees_nothing_is_shown_as_empty():
  facts = facts_of('hard_alibi+stick_breaking', *(
    f'--config.{text}' for text in ('encoding.hard_alibi.windowed=1', 'train.length=32')
  ))
  assert np.isnan(facts.trained.by_head[0]).all()
  cells = {row[0]: {*row[1:]} for row in words.table(facts)}
  assert cells['32 tokens, head 1'] == {'-'} < cells['32 tokens, head 2']
  near = picture.figure([facts]).subfigs[0].subfigs[1].axes[0]
  assert [text.get_text()[:6] for text in near.texts] == ['head 2', 'head 3', 'head 4']


def test_the_page_holds_all_and_is_self_contained(tmp_path, capsys, monkeypatch):
  """An encoding that cannot be shown becomes an error line and does not stop the rest."""
  monkeypatch.setattr(show, 'everything', lambda: ['broken', 'sinusoidal'])
  monkeypatch.setattr(show, 'look', lambda name, overrides, values: look(name))
  assert show.main(['--all', f'--out={tmp_path}']) == 1
  assert capsys.readouterr().err.splitlines()[-1].startswith('posjax: broken: UserError')
  text = (tmp_path / 'index.html').read_text()
  assert 'broken: UserError' in text and 'jax ' in text and '--all' in text
  assert 'id="sinusoidal"' in text and 'href="#sinusoidal"' in text
  assert text.count('data:image/png;base64,') == 1
  pictures = re.compile(r'data:image/png;base64,[\w+/=]+')
  assert not re.search(r'https?:|//|url\(|@import', pictures.sub('', text))


@functools.cache
def shelf():
  """Returns {encoding: its family in docs/shelf.md}."""
  found = {}
  for line in (show.config_lib.ROOT / 'docs/shelf.md').read_text().splitlines():
    if heading := re.match(r'\| \*\*([\w ]+)', line):
      family = heading[1].lower()
    elif row := re.match(r'\| \[`(\w+)`\]\(../posjax/encodings/', line):
      found[row[1]] = family
  return found


@pytest.mark.parametrize(('name', 'added'), [('floater', True), ('pope', False), ('rope', False)])
def test_encodings_that_add_to_keys_are_told_from_rotary_ones(name, added):
  with jax.enable_x64(True):
    assert probe.adds(encodings.find(name)().with_dims(Dims(D=8, N=2, K=1, H=4))) == added


def check(facts):
  """Asserts properties that hold for the facts of every encoding."""
  T = facts.trained.length
  for curve in (facts.trained, facts.extended):
    if curve:
      _, window, chunk, _ = facts.layer
      seen = np.arange(curve.length) < min(window or curve.length, chunk or curve.length)
      seen[0] &= facts.encoding.sees_itself
      assert np.isfinite(curve.by_head[:, seen]).any(axis=1).all()  # some heads see fewer keys
      assert np.isnan(curve.by_head[:, ~seen]).all() and not np.isinf(curve.by_head).any()
  last = facts.picture[:, -1, ::-1]
  np.testing.assert_array_equal(last, facts.trained.by_head)
  assert np.isnan(facts.picture[:, 0, 1:]).all() and facts.rows[-1] == T - 1
  told = dict(words.lines(facts))
  assert {'does', 'parameters', 'FLOPs', 'longer text', 'traits', 'attention', 'shown'} <= {*told}
  for part in probe.parts_of(facts.encoding):
    paper = words.paper(part)
    assert paper.summary and (paper.citation or paper.equation)


@pytest.mark.parametrize('name', ['alibi', 'local_global', 'sinusoidal'])
def test_some_encodings_can_be_shown(name):
  for facts in look(name):
    check(facts)


@pytest.mark.slow
@pytest.mark.parametrize('name', show.everything())
def test_everything_can_be_shown(name):
  for facts in look(name):
    if isinstance(facts, grid.Grid):
      check_grid(facts)
    else:
      check(facts)
      check_picture(facts)
    assert name not in shelf() or shelf()[name] in words.family(facts)
    assert page.entry(name, '', [facts]).html
