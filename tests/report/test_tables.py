"""The tables of a report: their numbers by hand."""

import json
import math
import shutil

import pytest

from posjax.report import claims, formats, numbers, protocol, sections, tables
from tests.report import fabricate
from tests.report.fabricate import LOSSES, MORE, load, of, rows_of

T = 4.302652729911275  # the 97.5 % quantile of Student's t with 2 degrees of freedom


def test_means_and_intervals_equal_a_computation_by_hand(topic):
  assert numbers.of_seeds([1.0, 2.0, 3.0]) == pytest.approx((2, 2 - T / 3**0.5, 2 + T / 3**0.5))
  assert numbers.of_seeds([5.0]) == (5.0, None, None)
  table = tables.lengths(of(topic))
  assert table.head == ['arm', '64 (trained)', '128']
  half = T * 0.1 / math.sqrt(3)  # the standard deviation of the seeds of rope is 0.1
  assert table.rows[0][1] == (f'1.100 ± {half:.3f}', '', 'best')
  # The seeds' differences are 0.9, 1.0 and 1.1; a bootstrap of three seeds is narrower than t.
  assert table.rows[1][1].note == f'+1.000 [{1 - half:.3f}, {1 + half:.3f}]'
  assert table.rows[2][2].text == 'beyond 99'


def test_a_difference_inside_the_noise_is_grey(topic):
  table = tables.lengths(of(topic))
  styles = [[cell.style for cell in row[1:]] for row in table.rows]
  # learned minus rope: 0.05, -0.1, 0.1 at 64; alibi minus rope: -0.1, 0.0, 0.2 at 128.
  assert styles == [['best', 'best'], ['', 'noise'], ['noise', '']]
  assert table.rows[1][2].note.startswith(f'{tables.NOISE} +0.033 [')
  assert '<td class="noise">' in formats.to_html(table)
  assert tables.NOISE in formats.to_markdown(table)
  assert r'$\approx$' in formats.to_latex(table)


def test_p_values_are_corrected_over_all_experiments_of_a_page(topic, other):
  alone = [*load(topic)[0].verdicts, *load(other)[0].verdicts]
  together = [each for sweep in load(topic, other) for each in sweep.verdicts]
  p = sorted(each.p for each in alone if each.p is not None)
  assert len(p) == 4
  # Holm: the rank-th smallest of four times 4, 3, 2, 1; never less than the one before.
  expected = [min(1, max(p[j] * (4 - j) for j in range(i + 1))) for i in range(4)]
  assert sorted(v.p_holm for v in together if v.p is not None) == pytest.approx(expected)
  assert all(a.p_holm <= b.p_holm for a, b in zip(alone, together, strict=True) if a.p is not None)
  assert together[1].p_holm > alone[1].p_holm


def test_the_summary_shows_each_verdict(topic, other, accuracy):
  sweeps = load(topic, other, accuracy)
  table = claims.summary(sweeps, {'accuracy': [('best at 64', 'best, 0.997 reads right')]})
  outcomes = ['reproduced', 'reproduced', 'reproduced', 'reproduced', 'direction only']
  assert [row[1].text for row in table.rows] == [*outcomes, 'best at 64']
  assert table.rows[0][0] == ('A <i> & B', 'overall: reproduced', '')
  assert table.rows[3][0].note == 'overall: direction only'
  assert rows_of(table)[2]['value'] == '2e-09'
  assert table.rows[2][3].text == '2.0e-09'
  assert {row['tier'] for row in rows_of(table)} == {'cpu'}
  # 3 arms with 3 seeds and 6 runs for learning rates, of 30 s each.
  assert rows_of(table)[0]['seconds'] == str(15 * 30) and table.rows[0][6].text == '8 min'


def test_groups_of_a_ranking_cannot_be_told_apart(accuracy):
  found = of(accuracy, 'reads right')
  assert found.ranking(64) == [['best', 'tied'], ['worse'], ['unlearned']]
  assert found.ranking(128) == [['best', 'tied'], ['worse', 'unlearned']]
  table = tables.ranking(found, 128)
  assert [[cell.text for cell in row] for row in table.rows] == [
    ['1', 'best', '0.800', '0.997'], ['', 'tied', '0.783', '0.983'],
    ['2', 'worse', '0.307', '0.967'], ['', f'unlearned {tables.NOT_LEARNED}', '0.303', '0.500'],
  ]
  assert sections.leaders(found, 128) == 'best, 0.800 reads right; inside the noise of it: tied'


def test_an_arm_inside_the_noise_of_the_best_is_in_the_first_group(tmp_path):
  arms = {
    'best': {64: [1.0, 1.1, 1.2]}, 'steady': {64: [1.05, 1.15, 1.25]},
    'noisy': {64: [0.9, 1.3, 1.4]},  # worse than steady, but inside the noise of best
  }
  experiment = fabricate.experiment(tmp_path, arms=arms)
  fabricate.sweep(experiment, tmp_path / 'runs', arms)
  found = of(tmp_path / 'runs')
  assert found.within(64) == ['best', 'steady', 'noisy']
  assert found.ranking(64) == [['best', 'noisy'], ['steady']]


def test_smaller_losses_and_larger_scores_are_better(topic, accuracy):
  assert of(topic).within(64) == ['rope', 'learned', 'alibi']
  assert of(accuracy, 'reads right').within(64) == ['best', 'tied', 'worse', 'unlearned']
  falling = {'bits/byte', 'nats/token', 'loss', 'accuracy', 'exact match', 'BLEU', 'entity F1'}
  assert {m for m in falling if numbers.falls(m)} == {'bits/byte', 'nats/token', 'loss'}


def test_accuracies_stand_beside_those_at_the_trained_length_and_a_guess(accuracy):
  table = tables.lengths(of(accuracy, 'reads right'))
  assert table.rows[0][2].text == '0.800 ± 0.000 (0.997)'
  assert [cell.text for cell in table.rows[-1]] == ['(a guess)', '0.250', '0.250']
  assert table.rows[3][0].text == f'unlearned {tables.NOT_LEARNED}'
  assert any(line.startswith(f'{tables.NOT_LEARNED} Below 0.95') for line in table.legend)


def test_fewer_than_three_seeds_judge_no_difference(topic):
  (sweep,) = load(topic)
  sweep.done[:] = [(run, result) for run, result in sweep.done if run.seed < 12]
  found = numbers.Numbers(sweep, fabricate.TEST, 'bits/byte')
  assert found.ranking(64) == [] and found.difference('alibi', 'rope', 64) is None
  assert tables.lengths(found).legend == ['Fewer than 3 seeds are done: no difference is judged.']
  assert sections.leaders(found, 64) == 'too few seeds for a ranking'


def test_a_learning_rate_at_the_edge_is_flagged(topic):
  table = protocol.rates(load(topic)[0])
  assert [cell.text for cell in table.rows[0]] == ['rope', '2.000', '1.500', '1.750']
  assert [cell.style for cell in table.rows[0]] == ['', '', 'best', '']
  assert [row[0].note for row in table.rows] == ['', f'{protocol.EDGE} at the edge']
  assert table.head == ['arm', '0.003', '0.01', '0.02']
  found = {(row['arm'], row['rate']): float(row['loss']) for row in rows_of(table)}
  assert found == {(a, f'{r:g}'): loss for a, own in LOSSES.items() for r, loss in own.items()}


def test_costs_by_hand(topic):
  # 30 steps from the first line of speed.jsonl to the last take 3 s.
  table = protocol.costs(load(topic)[0])
  texts = [cell.text for cell in table.rows[0]]
  assert texts == ['rope', '1,234', '100', '40', '312', '1 x cpu']
  assert float(rows_of(table)[0]['seconds_per_step']) == pytest.approx(0.1)
  assert float(rows_of(table)[0]['cpu_seconds']) == 40.5


def test_the_protocol_states_how_the_numbers_were_made(topic):
  said = protocol.protocol(load(topic)[0], fabricate.TEST)
  for text in (
    'trained at 64 bytes for 1,000 steps of 16 rows (1,024,000 bytes)', 'tested at 64, 128.',
    'non-overlapping, the same 100 bytes', 'Seeds 10, 11, 12.', 'Text: a text: 3 files.',
    'learning rates tried per arm: 3, with seed 9', 'posjax 0.1.0+abc, jax 0.10.2.', '1 x cpu.',
  ):
    assert text in said


def test_only_differing_settings_are_listed(tmp_path):
  arms = {'one': {64: [1.0, 1.0, 1.0]}, 'two': {64: [1.0, 1.0, 1.0]}}
  experiment = fabricate.experiment(tmp_path, arms=arms)
  experiment.arms['two'] += ('--config.encoding.rope.base=500.0',)
  fabricate.sweep(experiment, tmp_path / 'runs', arms)
  (sweep,) = load(tmp_path / 'runs')
  assert [[cell.text for cell in row] for row in protocol.settings(sweep).rows] == [
    ['one', 'encoding.rope.base=10000.0'], ['two', 'encoding.rope.base=500.0'],
  ]


def test_the_page_says_whether_the_criterion_is_older_than_the_results(topic):
  (sweep,) = load(topic)
  assert sections.age(sweep).startswith('The criterion is older than the results')
  sweep.manifest['files'].append({'sha256': 'f' * 64, 'done': 5})
  said = sections.age(sweep)
  assert said.startswith('The criterion is NOT older than the results: 5 runs were done')
  assert said.endswith('0 runs were done.')


def test_runs_that_are_not_done_are_named(topic, tmp_path):
  copy = tmp_path / 'topic'
  shutil.copytree(topic, copy)
  manifest = json.loads((copy / 'manifest.json').read_text())
  manifest['runs'][-1] |= {'status': 'failed 1'}
  (copy / 'manifest.json').write_text(json.dumps(manifest))
  (sweep,) = load(copy)
  assert len(sweep.done) == 8
  assert sections.missing(sweep) == (
    '14 of 15 known runs are done. Not done: learned, seed 12: failed 1.'
  )


def test_a_tier_that_judges_nothing_shows_its_criteria(tmp_path):
  arms = {'rope': {64: [1.0]}, 'alibi': {64: [2.0]}}
  experiment = fabricate.experiment(tmp_path, arms=arms, claims=MORE)
  fabricate.sweep(experiment, tmp_path / 'runs', arms, tier='smoke')
  table = claims.claims(load(tmp_path / 'runs')[0])
  assert [[cell.text for cell in row[:4]] for row in table.rows] == [
    ['not judged', 'seven', '> 0.9', ''], ['not judged', 'eight', '> 0.8', ''],
  ]
