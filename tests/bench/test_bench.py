"""The bench: its statistics, its FLOPs, its verdicts, its command line, and one small run."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from posjax import data, plan, state
from posjax.bench import __main__ as bench
from posjax.bench import ours, peers, picture, plain, shapes, subjects, tables, targets
from posjax.bench.subjects import Subject
from posjax.models import transformer
from posjax.plotting import spread_labels


def row(name, cpu, *, case='layer', planned=None, **subject):
  return tables.Row(Subject(case, name, 2048, 1, **subject), planned=planned, cpu=cpu, wall=cpu)


def test_a_ratio_is_the_median_of_the_rounds_ratios():
  slow, base = row('rope', [2.0, 30.0, 6.0]), row('nope', [1.0, 10.0, 4.0])
  assert tables.ratio(slow, base, 'cpu') == (1.75, 2.0, 2.5)  # of 2, 3 and 1.5
  assert tables.ratio(slow, base, 'cpu', faster=True) == pytest.approx((5 / 12, 0.5, 7 / 12))
  assert tables.spread([3.0]) == (3, 3, 3)


@pytest.mark.parametrize('power', [0.0, 1.0, 1.9])
def test_exponents_are_found(power):
  lengths = (4096, 8192, 16_384)
  assert tables.exponent(lengths, [7 * n**power for n in lengths]) == pytest.approx(power)


def test_verdicts_use_the_printed_numbers():
  of = lambda value, **options: targets.verdict(value, 1.08, 1.03, **options)
  assert [of(1.0), of(1.034), of(1.036), of(1.084), of(1.09)] == [
    'aim met', 'aim met', 'met', 'met', 'missed'
  ]
  more = lambda value: targets.verdict(value, 2.5, 5.0, faster=True)
  assert [more(5.0), more(2.6), more(2.4)] == ['aim met', 'met', 'missed']
  assert targets.verdict(3.0, None, 1.5) == targets.verdict(3.0, None, None) == 'reported'
  assert targets.verdict(1.0, None, 1.5) == 'aim met'


def test_a_group_prints_each_ratio_next_to_its_target():
  rows = [
    row('nope', [1.0, 1.0], planned=5_000_000), row('rope', [1.1, 1.1]),
    row('nope', [0.9, 0.9], implementation='reference'),
    row('torch SDPA', [2.0, 4.0], module='peers'),
    tables.Row(Subject('layer', 'cope', 2048, 1), error='no'),
    tables.Row(Subject('ceiling', next(iter(shapes.CEILINGS)), 0, 0), cpu=[1e-2, 2e-2]),
  ]
  text, entry = tables.group(rows, 'cpu')
  lines = text.splitlines()
  assert '| rope | 1.1 [1.1, 1.1] | 1.10 [1.10, 1.10] | ≤ 1.15, aim ≤ 1.05 | met |' in text
  assert '| nope, reference | 0.9 [0.9, 0.9] |  |  |' in text  # a baseline has no ratio
  assert any(line.startswith('| torch SDPA | 3 [2.5, 3.5] | 3.00 [2.50, 3.50] |') for line in lines)
  assert any(line.startswith('| cope | no |') for line in lines)
  assert len({line.count('|') for line in lines if line.startswith('|')}) == 1
  rate = 12 * 8 * 64 * (2048 * 2049 / 2) / (2 * 1024**3 / 1e-2)
  assert entry['rows'][0]['utilisation'] == pytest.approx(rate)
  assert json.loads(json.dumps(entry))['ratios'][0]['verdict'] == 'met'


def test_the_fastest_peer_is_the_one_to_beat():
  seconds = {'nope': 0.75, 'HF GPT-2': 2.0, 'torch nanoGPT': 1.25, 'HF Llama (swiglu)': 0.1}
  rows = [
    tables.Row(Subject('step', name, 512, 8, 'ours' if name == 'nope' else 'peers'), cpu=[cpu])
    for name, cpu in seconds.items()
  ]
  (found,) = [r for r in tables.ratios(rows, 'cpu') if r.target]
  assert (found.over.name, found.spread.median, found.verdict) == ('torch nanoGPT', 0.6, 'met')


def test_plans_are_judged_by_length_and_at_equal_tokens():
  sizes = {('layer', 4096): 1e8, ('layer', 16_384): 4e8, ('step', 512): 1e8, ('step', 2048): 1.2e8}
  rows = [
    tables.Row(Subject('memory', 'rope', length, 1, variant=case), planned=planned)
    for (case, length), planned in sizes.items()
  ]
  text, entry = tables.memory(rows, 'cpu')
  # The exponent meets its target; 400 MB is too much.
  assert '| rope | 100 | 400 | 1.00 | ≤ 1.1, aim ≤ 1 and 0.25 GiB | met |' in text
  assert entry['rows'][0]['step verdict'] == 'missed'


def test_targets_name_existing_measurements():
  names = {name for t in targets.TARGETS for name in t.names}
  assert names <= {*subjects.everything()}
  others = {name for t in targets.TARGETS for name in t.over} - {'nope', 'plain JAX'}
  assert others <= {name for builders in peers.BUILDERS.values() for name in builders}
  assert set(peers.WITH_BIAS) < set(peers.BUILDERS['layer'])


@pytest.mark.parametrize('variant', ['', 'swiglu'])
def test_flops_equal_the_plan_of_the_program(variant):
  subject = Subject('step', 'rope', 512, 8, variant=variant)
  setup = state.setup(ours.config(subject))
  planned = plan.flops_per_step(setup.config, setup.model, setup.shapes.params)
  assert subjects.flops(subject) == planned


def test_flops_of_a_layer_and_of_decoding():
  seen = np.tril(np.ones((100, 100))).sum()
  products = 2 * seen * 64 * 8 * 2  # scores, and weights times values
  assert subjects.flops(Subject('layer', 'nope', 100, 1)) == 3 * products
  _, model = state.build(ours.config(Subject('decode', 'nope', 256, 1)))
  shapes = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  weights = sum(x.size for x in jax.tree.leaves(shapes) if x.size > 10_000)
  read = range(1, 16 + 256)  # tokens that each new token sees, itself included
  once = sum(2 * weights + 6 * 2 * 2 * 256 * seen for seen in read)
  assert subjects.flops(Subject('decode', 'nope', 256, 16)) == 16 * once


def test_shapes_agree_with_the_program():
  assert shapes.V == data.TEXT
  _, model = state.build(ours.config(Subject('start', 'rope', 512, 8)))
  weights = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))
  count = lambda leaves: sum(x.size for x in leaves if x.size > 10_000)
  mine = jax.tree.leaves(jax.eval_shape(lambda: plain.init(jax.random.key(0))))
  assert count(mine) == count(jax.tree.leaves(weights)) > 4e6


def options(line):
  return bench.parse(line.split())


def test_subjects_of_a_command_line():
  both = subjects.groups(options('step layer --encodings=rope,t5 --peers'))
  steps, layers = both[:2], both[2:]
  assert [(g[0].batch, g[0].length) for g in steps] == [(8, 512), (2, 2048)]
  assert [g[0].length for g in layers] == [2048, 8192, 16_384]
  assert [s.label for s in layers[2]][:3] == ['nope', 't5', 'torch SDPA']
  assert 'torch SDPA, T5 bias' in [s.name for s in layers[0]]
  assert 'rope, swiglu' in [s.label for s in steps[0]]
  (group,) = subjects.groups(options('start'))
  assert [s.label for s in group] == [
    'plain JAX', 'rope', 'plain JAX, warm compile cache', 'rope, warm compile cache'
  ]
  first, *_, last = subjects.groups(options('step --lengths=512 --peers'))
  assert [s.name for s in first][:5] == ['nope', 'alibi', 'rope', 't5', 'abacus']
  assert last[0].name == 'nope' and 'peers' not in {s.module for s in last}
  cases = [g[0].case for g in subjects.groups(options(''))]
  assert list(dict.fromkeys(cases)) == list(subjects.CASES)
  (group,) = subjects.groups(options('layer --lengths=64 --encodings=nope,nope --dtypes=bfloat16'))
  assert [s.name for s in group][:2] == ['nope', 'nope']  # measured against itself: the noise
  assert {s.dtype for s in group} == {'bfloat16'}


@pytest.mark.parametrize(('line', 'message'), [
  ('stepp', 'stepp: did you mean step? It must be one of step, layer, decode, start, memory'),
  ('--encodings=alibbi', "there is no encoding 'alibbi'; did you mean 'alibi'?"),
  ('--implementations=blockwize', 'blockwize: did you mean blockwise? It must be one of auto, '),
  ('--dtypes=float16', 'float16: did you mean bfloat16? It must be one of float32, bfloat16'),
  ('--lengths=0', '--lengths=0: must be'),
  ('--lengths=512,x', '--lengths=x: must be'),
  ('--rounds=none', '--rounds=none: must be'),
  ('--pin=9999', '--pin=9999: must be one of'),
  ('--fast', '--fast'),
])
def test_mistakes_are_one_line(line, message, capsys):
  assert bench.main(line.split()) == 2
  said = capsys.readouterr()
  assert message in said.err and said.err.count('\n') == 1 and not said.out


def test_lines_are_drawn_and_named(tmp_path):
  assert spread_labels([0.1, 0.1, 0.5, 1.0], 0.2) == pytest.approx([0.05, 0.25, 0.5, 1.0])
  rows = [row('nope', [1.0], planned=10**6), row('rope', [2.0], planned=10**6)]
  rows += [tables.Row(Subject('memory', 'rope', 4096, 1, variant='layer'), planned=2 * 10**6)]
  seconds, sizes = picture.lines(rows, 'cpu')
  assert seconds == {'nope': {2048: 1.0}, 'rope': {2048: 2.0}}
  assert sizes == {'nope': {2048: 1.0}, 'rope': {2048: 1.0, 4096: 2.0}}
  picture.draw(seconds, sizes, tmp_path / 'bench.png')
  assert (tmp_path / 'bench.png').stat().st_size > 10_000
  assert picture.lines([row('nope', [1.0], case='step')], 'cpu') is None


@pytest.mark.slow
def test_a_small_run(tmp_path):
  line = 'step layer memory --encodings=nope,alibi --lengths=64 --rounds=1 --pin --peers'
  environment = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}
  done = subprocess.run(
    [sys.executable, '-m', 'posjax.bench', *line.split(), f'--out={tmp_path}'],
    capture_output=True, text=True, env=environment,
  )
  assert done.returncode == 0, done.stderr
  contents = json.loads((tmp_path / 'bench.json').read_text())
  step, layer, _ = contents['groups']
  for group in (step, layer):
    for entry in group['rows'][:2]:
      assert entry['cpu'][0] > 0 and entry['planned'] > 0 and 0 < entry['utilisation'] < 1
  assert (tmp_path / 'bench.png').exists() and (tmp_path / 'bench.md').exists()
  assert done.stdout.splitlines()[-1].startswith('files: ')
