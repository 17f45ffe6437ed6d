"""Loss by length and by position, under two protocols whose names stand beside every number.

Non-overlapping: the held-out text is cut into windows of L bytes, each read from nothing; all bytes
count, so that early ones with little context weigh more the shorter L is. Sliding: a window of L
moves on by a stride and only its last `stride` bytes count, so that each has at least L - stride
bytes of context (Press et al. 2021, arXiv 2108.12409, appendix B, discuss the two). Within a
protocol all lengths score the very same bytes. Documents are joined as they come: a window is one
context, with positions from 0 to L - 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from posjax import data, report, sharding, state
from posjax.config import UserError
from posjax.encodings import At


def non_overlapping(stream, length):
  """Windows of length + 1 tokens that share one, [rows, length + 1], and weights, all 1."""
  rows = (len(stream) - 1) // length
  windows = stream[: rows * length].reshape(rows, length)
  following = stream[length : rows * length + 1 : length]
  windows = np.concatenate([windows, following[:, None]], axis=1)
  return windows, np.ones((rows, length), bool)


def sliding(stream, length, *, stride, first, count):
  """Windows whose last `stride` targets count, one stride after the other from token `first` on.

  Of all that the stream has, `count` are taken, evenly spaced.
  """
  steps = np.linspace(1, (len(stream) - 1 - first) // stride, count).astype(int)
  ends = first + stride * steps
  windows = np.stack([stream[end - length : end + 1] for end in ends])
  return windows, np.broadcast_to(np.arange(length) >= length - stride, (len(ends), length))


class Scorer:
  """Nats of each target of windows, [rows, L], computed in pieces of equal shape on the mesh."""

  def __init__(self, model, mesh, tokens_per_call):
    self._mesh, self._tokens = mesh, tokens_per_call

    @jax.jit
    def nats(params, windows):
      T = windows.shape[1] - 1
      at = At(
        pos=jnp.arange(T, dtype=jnp.int32)[None, :, None],
        order=jnp.arange(T, dtype=jnp.int32)[None],
        segment_ids=jnp.zeros((1, T), jnp.int32),
      )
      logits, _ = model.apply({'params': params}, windows[:, :-1], at)
      return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:])

    self._nats = nats

  def __call__(self, params, windows):
    parts = sharding.row_parts(self._mesh)
    rows = -(-max(1, self._tokens // windows.shape[1]) // parts) * parts
    results = []
    for start in range(0, len(windows), rows):
      piece = windows[start : start + rows]
      padded = np.pad(piece, ((0, rows - len(piece)), (0, 0)))
      placed = jax.device_put(padded, sharding.of_batch(self._mesh))
      results.append(np.asarray(self._nats(params, placed), np.float64)[: len(piece)])
    return np.concatenate(results)


def mean(nats, weights, windows):
  """Nats per byte. BOS, which begins each document, is no byte: it does not count as a target."""
  weights = weights & (windows[:, 1:] != data.BOS)
  return float(np.sum(nats * weights) / np.sum(weights))


def by_position(nats, windows):
  """Mean nats per byte at each position, [L]."""
  counts = windows[:, 1:] != data.BOS
  return np.sum(nats * counts, axis=0) / np.sum(counts, axis=0)


def make_validation(config, model, mesh, corpus):
  """A function of the weights: nats per validation byte at the training length, non-overlapping."""
  stream = data.stream(corpus, 'validation', config.checkpoint.tokens + 1)
  windows, weights = non_overlapping(stream, config.train.length)
  scorer = Scorer(model, mesh, config.train.batch * config.train.length)

  def validate(params):
    return mean(scorer(params, windows), weights, windows)

  return validate


def evaluate(config, model, mesh, params, corpus):
  """Scores the test split at all lengths by both protocols.

  Returns:
    A JSON-able dict: 'protocols', what each of them is; 'lengths', for each of them a dict of
    'length', 'multiple', and nats per byte under each protocol, None where the encoding has no such
    positions ('limit'); 'by_position', nats at each position of the longest length that has them.
  """
  settings = config.evaluate
  longest = config.train.length * max(settings.multiples)
  stream = data.stream(corpus, 'test', settings.tokens + 1)
  tokens = (len(stream) - 1) // longest * longest
  steps = (len(stream) - 1 - longest) // settings.stride
  count = min(settings.windows, steps)
  if count < 1:
    raise UserError(
      f'evaluate.multiples: the longest window is {longest} bytes and evaluation has '
      f'{len(stream) - 1}; lower it, raise evaluate.tokens, or take a larger corpus'
    )
  scorer = Scorer(model, mesh, config.train.batch * config.train.length)
  rows, positions = [], None
  for multiple in settings.multiples:
    length = multiple * config.train.length
    row = {'length': length, 'multiple': multiple, 'non_overlapping': None, 'sliding': None}
    if model.pattern.limit is None or length <= model.pattern.limit:
      windows, weights = non_overlapping(stream[: tokens + 1], length)
      nats = scorer(params, windows)
      row['non_overlapping'] = mean(nats, weights, windows)
      positions = by_position(nats, windows).tolist()
      windows, weights = sliding(
        stream, length, stride=settings.stride, first=longest, count=count
      )
      row['sliding'] = mean(scorer(params, windows), weights, windows)
    rows.append(row)
  return {
    'limit': model.pattern.limit,
    'protocols': {
      'non_overlapping': f'non-overlapping, the same {tokens:,} bytes at each length',
      'sliding': (
        f'sliding, stride {settings.stride}, the same {count * settings.stride:,} bytes '
        f'({count:,} of {steps:,} windows)'
      ),
    },
    'lengths': rows,
    'by_position': positions,
  }


def run(config, workdir, *, name, checkpoint, command):
  """Evaluates a saved checkpoint of `workdir`: 'newest', 'best' or a step."""
  saved = state.load(config, workdir, checkpoint)
  with jax.set_mesh(saved.mesh):
    result = evaluate(
      config, saved.model, saved.mesh, saved.params, data.load(**config.data)
    )
  report.finish(result, saved.record, workdir, name=name, step=saved.step, command=command)
