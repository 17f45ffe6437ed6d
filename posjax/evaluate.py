"""Loss by length and by position, under two protocols whose names stand beside every number.

Non-overlapping: the held-out text is cut into windows of L bytes, each read from nothing; all bytes
count, so that early ones with little context weigh more the shorter L is. Sliding: a window of L
moves on by a stride and only its last `stride` bytes count, so that each has at least L - stride
bytes of context (Press et al. 2021, arXiv 2108.12409, appendix B, discuss the two). Within a
protocol all lengths score the very same bytes. A window is one context, with positions from 0 to
L - 1, and lies in one document; only documents that are shorter than two of the longest windows are
joined. Which bytes are held out to be scored: data.excerpts.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from posjax import data, report, sharding, state
from posjax.encodings import At
from posjax.errors import UserError
from posjax.runtime import compile_cache


def non_overlapping(texts, length):
  """Windows of length + 1 tokens that share one, [rows, length + 1], and weights, all 1."""
  windows = []
  for text in texts:
    rows = (len(text) - 1) // length
    following = text[length : rows * length + 1 : length]
    windows.append(np.c_[text[: rows * length].reshape(rows, length), following])
  windows = np.concatenate(windows)
  return windows, np.ones((len(windows), length), bool)


def sliding(texts, length, *, stride, first, count):
  """Windows whose last `stride` targets count, one stride after the other from token `first` on.

  Of all that the texts have, `count` are taken, evenly spaced.
  """
  ends = slides(texts, stride, first)
  ends = [ends[i] for i in np.linspace(0, len(ends) - 1, count).astype(int)]
  windows = np.stack([texts[text][end - length : end + 1] for text, end in ends])
  return windows, np.broadcast_to(np.arange(length) >= length - stride, (len(ends), length))


def slides(texts, stride, first):
  """(index of a text, index of the last token in it) of each window that slides."""
  return [
    (index, end) for index, text in enumerate(texts)
    for end in range(first + stride, len(text), stride)
  ]


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Text to score, cut into windows before anything is compiled.

  Each entry is (windows [rows, L + 1] of tokens, weights [rows, L]: whether a target counts). BOS,
  which begins each document, is no byte, and never does.
  """

  validation: tuple[np.ndarray, np.ndarray]
  test: dict[str, dict[int, tuple[np.ndarray, np.ndarray]]]  # by protocol and length
  protocols: dict[str, str]  # what each protocol scores
  scored: dict[str, int]  # how many 'documents' of the test split are scored, and 'of' how many


def hold_out(config, corpus):
  """The `HeldOut` windows of a resolved config. Raises UserError if a split is too short."""
  settings, trained = config.evaluate, config.train.length
  lengths = [trained * multiple for multiple in settings.multiples]

  texts = data.excerpts(
    corpus, 'validation', tokens=config.checkpoint.tokens, excerpt=trained
  )
  _check_length(texts, trained, 'validation', 'checkpoint.tokens', config.checkpoint.tokens)
  validation = _bytes_only(*non_overlapping(texts, trained))

  whole, first = math.lcm(*lengths), lengths[-1]
  # In two of the longest windows one of them can slide.
  texts = data.excerpts(corpus, 'test', tokens=settings.tokens, excerpt=2 * whole)
  least = max(whole, first + settings.stride)
  _check_length(texts, least, 'test', 'evaluate.tokens', settings.tokens)
  cut = [text[: (len(text) - 1) // whole * whole + 1] for text in texts if len(text) > whole]
  steps = len(slides(texts, settings.stride, first))
  slide = dict(stride=settings.stride, first=first, count=min(settings.windows, steps))
  test = {
    'non_overlapping': {n: _bytes_only(*non_overlapping(cut, n)) for n in lengths},
    'sliding': {n: _bytes_only(*sliding(texts, n, **slide)) for n in lengths},
  }
  scored = {name: int(windows[trained][1].sum()) for name, windows in test.items()}
  documents = sum(max(1, np.count_nonzero(text[:-1] == data.BOS)) for text in cut)
  return HeldOut(validation, test, {
    'non_overlapping': (
      f'non-overlapping, the same {scored["non_overlapping"]:,} bytes at each length, drawn evenly '
      'over documents'
    ),
    'sliding': (
      f'sliding, stride {settings.stride}, the same {scored["sliding"]:,} bytes at each length '
      f'({slide["count"]:,} of {steps:,} windows)'
    ),
  }, {'documents': int(documents), 'of': len(corpus.documents('test'))})


def _check_length(texts, least, split, key, tokens):
  longest = max(map(len, texts)) - 1
  if longest < least:
    more = f'raise {key}, ' if tokens < least else ''  # which cannot help a small corpus
    raise UserError(
      f'{key}: the {split} split gives {longest:,} bytes and {least:,} are needed; {more}lower '
      'evaluate.multiples or train.length, or take a larger corpus'
    )


def _bytes_only(windows, weights):
  return windows, weights & (windows[:, 1:] != data.BOS)


class Scorer:
  """Nats of each target of windows, [rows, L], computed in pieces of equal shape on the mesh."""

  def __init__(self, model, mesh, tokens_per_call, seed):
    self._mesh, self._tokens, self._rng = mesh, tokens_per_call, jax.random.key(seed)

    @functools.partial(jax.jit, compiler_options=compile_cache.quickly())
    def nats(params, windows, rng):
      T = windows.shape[1] - 1
      row = jnp.arange(T, dtype=jnp.int32)[None]
      at = At(row[..., None], row, jnp.zeros_like(row), consecutive=True)
      logits, _ = model.apply({'params': params}, windows[:, :-1], at, rng=rng)
      return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:])

    self._nats = nats

  def __call__(self, params, windows):
    parts = sharding.row_parts(self._mesh)
    rows = -(-max(1, self._tokens // (windows.shape[1] - 1)) // parts) * parts
    results = []
    for start in range(0, len(windows), rows):
      piece = windows[start : start + rows]
      padded = np.pad(piece, ((0, rows - len(piece)), (0, 0)))
      placed = jax.device_put(padded, sharding.of_batch(self._mesh))
      rng = jax.random.fold_in(self._rng, start)  # for encodings that draw positions here too
      results.append(np.asarray(self._nats(params, placed, rng), np.float64)[: len(piece)])
    return np.concatenate(results)


def mean(nats, weights):
  """Nats per byte, over those that count."""
  return float(np.sum(nats * weights) / np.sum(weights))


def by_position(nats, weights):
  """Mean nats per byte at each position, [L]; None where no byte counts."""
  sums, counts = np.sum(nats * weights, axis=0), np.sum(weights, axis=0)
  return [s / n if n else None for s, n in zip(sums.tolist(), counts.tolist(), strict=True)]


def validate(scorer, params, held_out):
  """Nats per validation byte at the training length, non-overlapping."""
  windows, weights = held_out.validation
  return mean(scorer(params, windows), weights)


def evaluate(scorer, params, held_out, limit):
  """Scores the test windows at all lengths by both protocols.

  Args:
    scorer: of the model.
    params: its weights.
    held_out: what to score.
    limit: how many positions the model's encodings can represent; None: any.

  Returns:
    A JSON-able dict: 'limit'; 'scored' and 'protocols' of `held_out`; 'lengths', for each a dict
    of 'length', 'multiple', and nats per byte under each protocol, None beyond the limit;
    'by_position', nats at each position of the longest length within it.
  """
  lengths = list(held_out.test['non_overlapping'])
  rows, positions = [], None
  for length in lengths:
    row = {'length': length, 'multiple': length // lengths[0]}
    for protocol, windows_of in held_out.test.items():
      row[protocol] = None
      if limit is None or length <= limit:
        windows, weights = windows_of[length]
        nats = scorer(params, windows)
        row[protocol] = mean(nats, weights)
        if protocol == 'non_overlapping':
          positions = by_position(nats, weights)
    rows.append(row)
  return {
    'limit': limit, 'scored': held_out.scored, 'protocols': held_out.protocols, 'lengths': rows,
    'by_position': positions,
  }


def run(config, workdir, *, name, checkpoint, command):
  """Evaluates a saved checkpoint of `workdir`: 'newest', 'best' or a step."""
  corpus = data.load(**config.data)
  held_out = hold_out(config, corpus)
  saved = state.load(config, workdir, checkpoint)
  if saved.read_with:
    print(report.read_with(saved.read_with), flush=True)
  scorer = Scorer(
    saved.model, saved.mesh, config.train.batch * config.train.length, config.seed
  )
  with jax.set_mesh(saved.mesh):
    result = evaluate(scorer, saved.params, held_out, saved.model.pattern.limit)
  record = report.record(config, corpus, saved.params) | {
    'trained_on': saved.record['corpus'],
    'read_with': {key: new for key, (_, new) in saved.read_with.items()},
  }
  report.finish(
    result, record, workdir, name=name, step=saved.step, command=command, differs=saved.read_with
  )
