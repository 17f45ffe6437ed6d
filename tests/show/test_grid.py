"""What is shown of a grid matches the equation of the encoding; picture and table agree."""

import functools
import re

import jax
import numpy as np
import pytest

from posjax.encodings.alibi import slopes
from posjax.encodings.parts import planes
from posjax.show import __main__ as show
from posjax.show import grid_picture, grid_words, picture, probe, words
from posjax.show.table import number


@functools.cache
def facts_of(name, *overrides, sizes=()):
  (facts,) = show.look(name, [f'--config.encoding.{text}' for text in overrides], 'initial', sizes)
  return facts


def steps(sizes, cell):
  """Returns the difference of each cell from one cell, [*sizes, P]."""
  return np.moveaxis(np.indices(sizes), 0, -1) - np.array(cell)


def test_alibi_on_two_axes_is_its_slope_times_the_city_block_distance():
  facts = facts_of('alibi@0+alibi@1', sizes=(5, 6))
  (query,) = facts.queries
  assert query.cell == (2, 3) and facts.kind == 'bias' and not facts.causal
  distance = np.abs(steps((5, 6), query.cell)).sum(axis=-1)
  want = -slopes(4)[:, None, None] * distance
  np.testing.assert_allclose(query.by_head, want, 1e-12, 1e-12)
  np.testing.assert_allclose(query.relative, want, 1e-12, 1e-12)


@pytest.mark.parametrize(('layout', 'sizes'), [
  (dict(layout='axial', base=100.0), (5, 6)),
  (dict(layout='pixtral', base=50.0), (2, 3, 4)),
  (dict(layout='chunks', sections=(3, 5)), (5, 6)),
  (dict(layout='pixels'), (3, 3)),  # up to 352 radians for a step of 1
])
def test_rope_nd_is_its_table_and_the_mean_cosine(layout, sizes):
  text = [f'rope_nd.planes.{key}={show_value(value)}' for key, value in layout.items()]
  facts = facts_of('rope_nd', *text, sizes=sizes)
  table = planes.table(layout, len(sizes), 16)
  turning = table[:, (table > 0).any(axis=0)]
  by_axis = [row[row > 0] for row in turning]
  want = [np.where(np.arange(len(sizes))[:, None] == a, -np.sort(-own), 0)
          for a, own in enumerate(by_axis)]
  np.testing.assert_allclose(facts.theta, np.concatenate(want, axis=1), 1e-7, 1e-12)
  (query,) = facts.queries
  logit = np.cos(steps(sizes, query.cell) @ table).mean(axis=-1)
  np.testing.assert_allclose(query.by_head[1], logit, 1e-9, 1e-9)


def show_value(value):
  return ','.join(map(str, value)) if isinstance(value, tuple) else value


def test_planes_that_turn_along_any_direction_have_their_signs():
  facts = facts_of('rope_mixed')
  with jax.enable_x64(True):
    theta_PKC = probe.first_weights(facts.encoding, 0)['theta_LPKC']
  want = theta_PKC.reshape(2, -1)
  ahead = np.take_along_axis(want, np.abs(want).argmax(axis=0)[None], axis=0)
  want = want * np.sign(ahead)
  assert (want < 0).any() and facts.theta.shape == want.shape
  in_order = lambda x: x[:, np.lexsort(x.round(6))]
  np.testing.assert_allclose(in_order(facts.theta), in_order(want), 1e-6, 1e-9)


def test_sinusoids_of_embeddings_are_frequencies_of_their_axis():
  facts = facts_of('sincos_nd')
  ladder = 10_000 ** -(np.arange(16) / 16)
  np.testing.assert_allclose(facts.theta, np.kron(np.eye(2), ladder), 1e-7, 1e-12)
  assert [query.cell for query in facts.queries] == [(4, 4), (7, 7)]  # not shift invariant


def test_windows_that_are_shifted_hide_all_other_cells():
  given = '--config.model.chunks=4', '--config.model.shifts=2'
  (facts,) = show.look('swin', given, 'initial', ())
  center, corner = facts.queries
  inside = np.zeros((8, 8), bool)
  inside[2:6, 2:6] = True
  np.testing.assert_array_equal(~np.isnan(center.by_head), np.broadcast_to(inside, (4, 8, 8)))
  assert (~np.isnan(corner.by_head[0])).sum() == 4
  assert 'chunks of 4 from -2 on' in words.title(facts)


def test_a_decoder_sees_the_cells_before_in_row_major_order():
  (facts,) = show.look('alibi_nd', ['--config.model.form=decoder'], 'initial', (3, 3))
  (query,) = facts.queries
  seen = ~np.isnan(query.by_head[0].ravel())
  assert seen.tolist() == [True] * 5 + [False] * 4


def test_arguments_that_fit_only_texts_are_shown_on_a_text():
  assert facts_of('learned_nd').lengths[0] == 64
  assert facts_of('learned_nd', 'learned_nd.grid=8,8').sizes == (8, 8)


def check_grid(facts):
  """Asserts properties that hold on every grid, and that drawn numbers are the printed ones."""
  printed = words.text(facts)
  maps = [ax for ax in picture.figure([facts]).get_axes() if ax.images]
  heads = grid_picture.shown_heads(facts)
  own = [(query, label, n) for query in facts.queries for label, n in heads]
  assert len(maps) == len(own)
  for ax, (query, label, n) in zip(maps, own, strict=True):
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(drawn, grid_picture.flat(query.relative[n]))
    assert ax.get_title() == label
    heading, *rows = grid_words.table(facts, query)
    for cell, row in zip(grid_words.cells(query), rows, strict=True):
      text = row[heading.index(label)]
      assert text == number(query.by_head[n, *cell]) and text in printed
  told = dict(words.lines(facts))
  assert {'does', 'parameters', 'FLOPs', 'traits', 'attention', 'shown'} <= {*told}
  assert ('angles' in told) == bool(facts.theta.size)


@pytest.mark.parametrize('name', ['rope_nd', 'alibi@0+alibi@1'])
def test_the_picture_has_the_printed_numbers(name):
  check_grid(facts_of(name))
  check_grid(facts_of(name, sizes=(2, 3, 4)) if name == 'rope_nd' else facts_of(name))


def test_a_command_writes_the_picture_of_a_grid(tmp_path, capsys):
  assert show.main(['alibi_nd', '--alibi_nd.norm=1', '--grid=4,6', f'--out={tmp_path}']) == 0
  said = capsys.readouterr().out
  assert (tmp_path / 'alibi_nd-alibi_nd.norm=1-grid=4,6.png').stat().st_size > 20_000
  assert 'for one of 4 x 6 equal tokens, which sees all' in said
  assert 'bias, query (2, 3)' in said and re.search(r'key \(0, 0\) +-1\.25  ', said)
