"""Plants known bugs of other libraries in a copy, one at a time: the tests must catch each.

`python -m pytest -m slow tests/encodings/test_planted.py -rP` prints which test catches which bug.
A bug replaces a text of a file; `caught` names the test that must fail. Comments cite reports of
the bug in other libraries.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[2]


class Bug(NamedTuple):
  file: str  # below posjax/
  right: str  # a text that occurs once in the file
  wrong: str
  caught: str  # 'FILE::TEST[ENCODING': the start of the failing test's name


ENCODINGS, EQUATIONS, TRAITS, TOEPLITZ = (
  f'tests/encodings/test_{name}.py::test'
  for name in ('encodings', 'equations', 'traits', 'toeplitz')
)
CONSECUTIVE = 'tests/attention/test_kernel.py::test_consecutive_positions_give_the_same_numbers'
DECODING = 'tests/attention/test_cache.py::test_cached_decoding_equals_forward'

BUGS = {
  # Angles in the model's dtype: positions above 256 collide (transformers #29285 and many others).
  'angles in bfloat16': Bug(
    'encodings/rope.py', 'self.position_features(tokens, at_least_float32(tokens.h))',
    'self.position_features(tokens, tokens.h.dtype)',
    f'{ENCODINGS}_bfloat16_far_out[rope]',
  ),
  # A trait that promises too much: an encoder with ALiBi does not tell left from right.
  'ALiBi declared to tell the side': Bug(
    'encodings/alibi.py', "'order and side' if self.learned == 'apart' else 'distance'",
    "'order and side'",
    'tests/encodings/test_encoder_order.py::test_an_encoder_learns_the_declared_order[alibi]',
  ),
  # Interleaved read as half-split: garbage after a conversion (transformers #25199).
  'interleaved read as half-split': Bug(
    'encodings/parts/rotation.py', "if layout == 'half':", 'if layout in LAYOUTS:',
    'tests/encodings/test_identities.py::test_rope_interleaved_is_half_split_of_permuted_channels',
  ),
  # Positions counted from a block's first token, as if it were the first of the text.
  'arange inside an encoding': Bug(
    'encodings/rope.py', 'in cos_sin(at.pos[..., 0], theta',
    'in cos_sin(jnp.arange(at.pos.shape[1])[None], theta',
    f'{DECODING}[rope]',
  ),
  # Positions that continue across packed documents (torchtitan #2559).
  'positions of a packed row do not restart': Bug(
    'encodings/sinusoidal.py', 'pos_BT = at.pos[..., 0] +', 'pos_BT = at.order +',
    f'{ENCODINGS}_packed_documents_equal_documents_alone[sinusoidal]',
  ),
  # A bias for T queries from 0 on, whatever the cache holds (TensorRT-LLM #13870).
  'bias over the query length under a cache': Bug(
    'encodings/parts/distance.py', 'q.pos[:, :, None, 0] - k.pos',
    'jnp.arange(len(q.pos[0]))[:, None] - k.pos', f'{DECODING}[alibi]',
  ),
  # Slopes computed from the heads of one device (flashinfer #5101).
  'slopes from local heads': Bug(
    'encodings/alibi.py', 'slopes(self.dims.N, self.bias_max), distance',
    'np.tile(slopes(self.dims.N // 2, self.bias_max), 2), distance',
    f'{EQUATIONS}_self_attention_equals_the_oracle[alibi]',
  ),
  # Head counts that are no power of two: incompatible formulas (mlx #343, transformers #28380).
  'slopes of the next power of two': Bug(
    'encodings/alibi.py', 'c = 2 ** int(np.log2(heads))', 'c = 2 ** int(np.ceil(np.log2(heads)))',
    f'{EQUATIONS}_self_attention_equals_the_oracle[alibi]',
  ),
  'bias inside the softmax scale': Bug(
    'encodings/alibi.py', 'return -slope_N * ', 'return -self.dims.scale * slope_N * ',
    f'{EQUATIONS}_self_attention_equals_the_oracle[alibi]',
  ),
  'bucket off by one': Bug(
    'encodings/parts/buckets.py', 'far = exact + (jnp.log', 'far = exact - 1 + (jnp.log',
    f'{EQUATIONS}_self_attention_equals_the_oracle[t5-buckets=8-max_distance=40]',
  ),
  # The bias is dropped once there is a cache (TensorRT-LLM #13870).
  'no bias for a single query': Bug(
    'encodings/core/encoding.py', 'else s_BNTS + pair.bias, carry',
    'else s_BNTS + pair.bias * (s_BNTS.shape[2] > 1), carry',
    f'{DECODING}[t5-buckets=8-max_distance=40]',
  ),
  'a frozen table': Bug(
    'encodings/t5.py', 'return self.table_RN.astype(',
    "return __import__('jax').lax.stop_gradient(self.table_RN).astype(",
    f'{ENCODINGS}_gradients_equal_finite_differences[t5-buckets=8-max_distance=40]',
  ),
  'scale missing on a relative term': Bug(
    'encodings/shaw.py', 'return of_queries(q, r_1HR)',
    'return of_queries(q, r_1HR) / self.dims.scale',
    f'{EQUATIONS}_self_attention_equals_the_oracle[shaw-clip=4]',
  ),
  'sign of the distance': Bug(
    'encodings/shaw.py', 'return self.clip - jnp.clip(', 'return self.clip + jnp.clip(',
    f'{EQUATIONS}_self_attention_equals_the_oracle[shaw-clip=4]',
  ),
  'normalised by the position of the key': Bug(
    'encodings/fire.py', 'share(distance_BTS, q.pos[..., :1].astype(',
    'share(distance_BTS, k.pos[..., :1].swapaxes(1, 2).astype(',
    f'{EQUATIONS}_self_attention_equals_the_oracle[fire-length=8-width=5]',
  ),
  # Attention leaks across documents (torchtitan #2559, OLMo-core #503).
  'a carry that leaks across documents': Bug(
    'encodings/cope.py', 'jnp.where(pair.mask, jax.nn.sigmoid(s_BNTS), 0)',
    'jax.nn.sigmoid(s_BNTS)', f'{ENCODINGS}_packed_documents_equal_documents_alone[cope-rows=4]',
  ),
  # Hidden by softmax: a constant per query, computed from masked tokens.
  'gates of tokens that are not seen': Bug(
    'encodings/fox.py', 'jnp.where(pair.fully_visible, 2', 'jnp.where(jnp.any(pair.mask), 2',
    f'{ENCODINGS}_gradients_are_zero_exactly_where_nothing_is_seen[fox]',
  ),
  'a carry in the dtype of the inputs': Bug(
    'encodings/core/arrays.py', 'jnp.where(False, q.h[..., 0], 0).astype(at_least_float32(q.h))',
    'jnp.where(False, q.h[..., 0], 0)',
    f'{ENCODINGS}_bfloat16_far_out[cope-rows=4]',
  ),
  'a query that scores itself': Bug(
    'encodings/stick_breaking.py', '[:, None, None, :] < pair.q.order',
    '[:, None, None, :] <= pair.q.order',
    f'{EQUATIONS}_self_attention_equals_the_oracle[stick_breaking]',
  ),
  # Heads repeated in the wrong order under grouped queries.
  'key heads alternate instead of forming groups': Bug(
    'encodings/core/arrays.py', 'return jnp.repeat(x_BTKH, heads // x_BTKH.shape[2], axis=2)',
    'return jnp.tile(x_BTKH, (1, 1, heads // x_BTKH.shape[2], 1))',
    f'{EQUATIONS}_self_attention_equals_the_oracle[stick_breaking]',
  ),
  'a convolution across documents': Bug(
    'encodings/parts/taps.py', 'jnp.where(same[..., None, None], u_BTKH[:, i : i + T], 0)',
    'u_BTKH[:, i : i + T]',
    f'{ENCODINGS}_packed_documents_equal_documents_alone[path-rank=5]',
  ),
  'a state that does not move on': Bug(
    'encodings/path.py', 'last = Recent(u[:, 1 - TAPS :].astype(state.u.dtype), '
    'segment_ids[:, 1 - TAPS :])', 'last = state', f'{DECODING}[path-rank=5]',
  ),
  # Positions drawn again at each step (randomized_positional_encodings #1).
  'positions drawn again for each call': Bug(
    'models/stack.py', 'states = cache.states',
    'states, _ = self.pattern.init_states(*tokens_BT.shape, self.groups, train=train, '
    'rng=jax.random.key(0))',
    f'{DECODING}[randomize-places=200+rope]',
  ),
  'the first layer\'s weights in each of a group': Bug(
    'models/pattern.py', 'w.reshape(groups, n, *w.shape[1:])[:, i]',
    'w.reshape(groups, n, *w.shape[1:])[:, 0]',
    'tests/models/test_transformer.py::test_pattern_equals_stacking_by_hand[weights of their own]',
  ),
  'a wrapped ring buffer visited slot by slot': Bug(
    'attention/__init__.py', 'k = ascending(k)', 'pass',
    f'{TRAITS}_a_wrapped_ring_buffer_equals_a_plain_cache[cope-rows=4]',
  ),
  'key blocks from the farthest to the nearest': Bug(
    'attention/blockwise/__init__.py',
    'tile, _ = load_tile(plan, q, k, r, i, plan.last[i] - 1 - turn)',
    'tile, _ = load_tile(plan, q, k, r, i, plan.first[i] + turn)',
    f'{ENCODINGS}_blockwise_equals_reference[path-rank=5]',
  ),
  'the gradient of a carry dropped': Bug(
    'attention/blockwise/__init__.py', '*second, ds_BNTS, dcarry = pull_score(',
    '*second, ds_BNTS, _ = pull_score(', f'{ENCODINGS}_blockwise_equals_reference[fox]',
  ),
  'gradients of scores as if the sum of weights were constant': Bug(
    'attention/blockwise/__init__.py', ' - delta_BNT[..., None])', ')',
    f'{ENCODINGS}_blockwise_equals_reference[nope]',
  ),
  'the gradient of a shared bias from the last row alone': Bug(
    'attention/blockwise/__init__.py', 'trees.add(totals, (dencoding, tile.r, tile.bias))',
    '(*trees.add(totals[:2], (dencoding, tile.r)), tile.bias)',
    f'{CONSECUTIVE}[t5-buckets=8-max_distance=40]',
  ),
  'padding of the last block is seen': Bug(
    'attention/blockwise/blocks.py', '.replace(segment_ids=cut(tokens.segment_ids, fill=-1))', '',
    f'{ENCODINGS}_blockwise_equals_reference[nope]',
  ),
  'distances of another pair of blocks': Bug(
    'attention/blockwise/tile.py', 'place, nearest = (blocks - 1 - i) * T',
    'place, nearest = i * T', f'{CONSECUTIVE}[kerple]',
  ),
  'a block taken for far when one distance is near': Bug(
    'encodings/core/encoding.py', 'nearest >= self.linear_beyond',
    'nearest >= self.linear_beyond - 1', f'{CONSECUTIVE}[shaw-clip=4]',
  ),
  'far blocks moved by one': Bug(
    'encodings/core/toeplitz.py', 'jnp.flip(x_BN1R[..., :T]', 'jnp.flip(x_BN1R[..., 1 : T + 1]',
    f'{TOEPLITZ}_linear_is_skew_of_evenly_spaced_numbers',
  ),
  'near blocks moved by one': Bug(
    'encodings/core/toeplitz.py', '_slices(x_BNTR, T - 1 - jnp.arange(T)',
    '_slices(x_BNTR, T - jnp.arange(T)', f'{TOEPLITZ}_skew_of_separate_rows',
  ),
  'diagonals summed off by one': Bug(
    'encodings/core/toeplitz.py', '[ends]) for x, ends', '[ends[::-1]]) for x, ends',
    f'{TOEPLITZ}_skew_of_a_shared_row',
  ),
  'a block at the window\'s edge skipped': Bug(
    'attention/mask.py', '(q.first - k.last < window)', '(q.first - k.last < window - 1)',
    'tests/attention/test_attention.py::test_reachable_never_misses_a_visible_pair',
  ),
  'a window over positions instead of order': Bug(
    'attention/mask.py', 'mask &= jnp.abs(order_q - order_k) < window',
    'mask &= jnp.abs(q.pos[:, None, :, None, 0] - k.pos[:, None, None, :, 0]) < window',
    f'{EQUATIONS}_self_attention_equals_the_oracle[nope]',
  ),
  'NaN where a query sees nothing': Bug(
    'attention/reference.py', 'return jnp.where(total > 0, total, 1)', 'return total',
    f'{EQUATIONS}_cross_attention_equals_the_oracle[nope]',
  ),
}


def copy(folder):
  for part in ('posjax', 'tests', 'configs'):
    shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns('__pycache__'))


def run(folder, *tests):
  """Runs pytest on the copy, not on the installed package."""
  command = [
    sys.executable, '-m', 'pytest', '-q', '-p', 'no:xdist', '-p', 'no:cacheprovider',
    '-o', 'addopts=', '-o', f'pythonpath={folder}', *tests,
  ]
  return subprocess.run(
    command, cwd=folder, capture_output=True, text=True, check=False,
    env=os.environ | {'PYTHONPATH': str(folder)},
  )


@pytest.mark.slow
def test_without_a_bug_the_same_tests_pass(tmp_path):
  copy(tmp_path)
  done = run(tmp_path, *dict.fromkeys(bug.caught for bug in BUGS.values()))
  assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize('name', BUGS)
def test_a_planted_bug_is_caught(name, tmp_path):
  bug = BUGS[name]
  copy(tmp_path)
  path = tmp_path / 'posjax' / bug.file
  text = path.read_text()
  assert text.count(bug.right) == 1, f'{bug.file} has changed: update the planted bug'
  path.write_text(text.replace(bug.right, bug.wrong))
  done = run(tmp_path, bug.caught)
  failed = re.findall(r'^FAILED (\S+.*?)(?: - |$)', done.stdout, re.MULTILINE)
  assert done.returncode == 1 and failed, f'{name} is not caught:\n{done.stdout[-2000:]}'
  print(f'| {name} | {bug.file} | {failed[0].removeprefix("tests/")} |')
