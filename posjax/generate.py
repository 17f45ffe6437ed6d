"""Generation with a cache: the prompt in one pass, then one token at a time under `lax.scan`.

Lengths within one bucket share compiled programs: prompts are padded on the left, with masked
tokens. The cache starts with twice the slots of the padded prompt and doubles when it is full, so
that attention reads at most twice the slots in use. Tokens come in chunks, so that text can be
shown while it is generated.
"""

import codecs
import functools
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from posjax import report, state
from posjax.encodings import Positions
from posjax.errors import UserError
from posjax.models.stack import Cache, unstacked
from posjax.models.transformer import Transformer

CHUNK = 16  # tokens per call of the scan
BUCKET = 64  # prompts are padded to this length times a power of two; so are caches
LONGEST = 2**16 - 1  # bytes of a prompt: attention is quadratic, a minute on two CPU cores
# Static arguments: a new value compiles again.
STATIC = ('model', 'capacity', 'slots', 'temperature', 'top_k', 'top_p', 'never')


@flax.struct.dataclass
class Decoding:
  """The carry of a decoding step: the newest tokens, their positions, and the cache."""

  tokens_B: jax.Array
  at: Positions  # of the newest tokens, T = 1
  cache: Cache


def sample(
  logits_BV: jax.Array, rng: jax.Array, *, temperature: float, top_k: int, top_p: float,
  never: Sequence[int] = (),
) -> jax.Array:
  """Returns a sampled token for each row, [B]; temperature 0 selects the most likely token.

  Top-k: arXiv 1805.04833. Top-p, or nucleus: Holtzman et al. 2020, arXiv 1904.09751. Both apply to
  all tokens, after the temperature: probabilities are not renormalized between top-k and top-p.
  Tokens in `never` are not sampled.
  """
  logits_BV = logits_BV.at[:, list(never)].set(-jnp.inf) if never else logits_BV
  if temperature < 1e-30:  # logits divided by less may overflow float32
    return jnp.argmax(logits_BV, axis=-1)
  logits_BV = logits_BV / temperature
  descending = jnp.sort(logits_BV, axis=-1, descending=True)
  least = jnp.full(len(logits_BV), -jnp.inf)
  if top_k:
    least = jnp.maximum(least, descending[:, min(top_k, logits_BV.shape[-1]) - 1])
  if top_p < 1:
    p = jax.nn.softmax(descending)
    # Keep the first token, and further tokens while their predecessors sum to less than top_p.
    kept = jnp.cumsum(p, axis=-1) - p < top_p
    least = jnp.maximum(least, jnp.min(descending, axis=-1, where=kept, initial=jnp.inf))
  logits_BV = jnp.where(logits_BV >= least[:, None], logits_BV, -jnp.inf)
  return jax.random.categorical(rng, logits_BV)


def bucket(length: int) -> int:
  """Returns the smallest BUCKET * 2**n that holds `length` tokens."""
  return BUCKET * 2 ** max(0, (length - 1) // BUCKET).bit_length()


def pad_left(prompts: Collection[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """Pads prompts on the left to one bucket; returns tokens [B, T] and padding lengths [B]."""
  length = bucket(max(map(len, prompts)))
  tokens = np.stack([np.pad(p, (length - len(p), 0)) for p in prompts])
  padding = [length - len(p) for p in prompts]
  return tokens.astype(np.int32), np.array(padding, np.int32)  # also in 64-bit mode


def generate(
  model: Transformer, params: Any, prompts: Collection[np.ndarray], *, tokens: int, rng: jax.Array,
  **sampling: Any,
) -> Iterator[np.ndarray]:
  """Yields arrays [B, n] of the tokens that follow each prompt, `tokens` in total.

  Args:
    model: a `Transformer`.
    params: its weights.
    prompts: one array of tokens per row, none of them empty.
    tokens: how many to generate.
    rng: a key.
    **sampling: temperature, top_k, top_p and never, see `sample`.
  """
  tokens_BT, padding_B = pad_left(prompts)
  length, chunks = tokens_BT.shape[1], -(-tokens // CHUNK)
  capacity, slots = bucket(length + chunks * CHUNK), 2 * length
  params = unstack_layers(model, params)
  decoding = prefill(
    model, params, tokens_BT, padding_B, rng, capacity=capacity, slots=slots, **sampling
  )
  yield np.asarray(decoding.tokens_B)[:, None][:, :tokens]
  for done in range(1, tokens, CHUNK):
    if length + done - 1 == slots:
      slots *= 2
      decoding = grow(model, decoding, slots=slots)
    decoding, new_BT = decode(model, params, decoding, rng, **sampling)
    yield np.asarray(new_BT)[:, : tokens - done]


@functools.partial(jax.jit, static_argnums=0)
def unstack_layers(model: Transformer, params: Any) -> Any:
  """Returns the weights with separate arrays for each group of layers, as decoding reads them."""
  return params | {'layers': unstacked(params['layers'], model.groups)}


@functools.partial(jax.jit, static_argnames=STATIC)
def prefill(
  model: Transformer, params: Any, tokens_BT: jax.Array, padding_B: jax.Array, rng: jax.Array, *,
  capacity: int, slots: int, **sampling: Any,
) -> Decoding:
  """Reads the prompts into a new cache and picks the first token after them."""
  B, T = tokens_BT.shape
  order_BT = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (B, T))
  pos_BT = order_BT - padding_B[:, None]
  at = Positions(
    pos=jnp.maximum(pos_BT, 0)[..., None],
    order=order_BT,
    segment_ids=jnp.where(pos_BT >= 0, 0, jnp.int32(-1)),
  )
  # Sampling never uses length 0, so key 0 is free for drawn positions.
  positions = jax.random.fold_in(rng, 0)
  cache = model.init_cache(B, capacity, slots=slots, rng=positions)
  logits_BTV, cache = model.apply({'params': params}, tokens_BT, at, cache)
  return _next(logits_BTV, jax.tree.map(lambda x: x[:, -1:], at), cache, rng, sampling)


@functools.partial(jax.jit, static_argnames=('model', 'slots'))
def grow(model: Transformer, decoding: Decoding, *, slots: int) -> Decoding:
  return decoding.replace(cache=model.grow(decoding.cache, slots))


@functools.partial(jax.jit, static_argnames=STATIC, donate_argnames='decoding')
def decode(
  model: Transformer, params: Any, decoding: Decoding, rng: jax.Array, **sampling: Any
) -> tuple[Decoding, jax.Array]:
  """Generates CHUNK tokens; returns the new `Decoding` and the tokens [B, CHUNK]."""

  def step(d, _):
    logits_BTV, cache = model.apply({'params': params}, d.tokens_B[:, None], d.at, d.cache)
    d = _next(logits_BTV, d.at, cache, rng, sampling)
    return d, d.tokens_B

  decoding, tokens_TB = jax.lax.scan(step, decoding, length=CHUNK)
  return decoding, tokens_TB.T


def _next(logits_BTV, at, cache, rng, sampling):
  now = jax.random.fold_in(rng, cache.length)
  return Decoding(
    tokens_B=sample(logits_BTV[:, -1], now, **sampling).astype(jnp.int32),
    at=at.replace(pos=at.pos + 1, order=at.order + 1),
    cache=cache,
  )


def read(prompt: str | None) -> bytes:
  """Returns the bytes of a prompt; reads standard input if `prompt` is None.

  Raises:
    UserError: the prompt is too long, or standard input is closed.
  """
  if prompt is not None:
    text = os.fsencode(prompt)
  elif sys.stdin:
    text = sys.stdin.buffer.read(LONGEST + 1)  # it may be endless
  else:
    raise UserError('standard input is closed: name the text to continue with --prompt')
  if len(text) > LONGEST:
    raise UserError(
      f'the prompt has more than {LONGEST:,} bytes: give the end of it, with `tail -c {LONGEST}`'
    )
  return text


def stops(text: str) -> list[bytes]:
  r"""Returns the bytes of each stop in 'A,B'; Python escapes: \n is a newline, \x2c a comma.

  Raises:
    UserError: an escape is incomplete, or a stop is empty.
  """
  parts = text.split(',') if text else []
  if '' in parts:
    raise UserError(rf'generate.stop = {text}: a stop is empty; a comma within one is \x2c')
  try:
    # Non-ASCII characters become escapes first, so that all escapes are decoded in one pass.
    read = [part.encode('ascii', 'backslashreplace').decode('unicode_escape') for part in parts]
    return [os.fsencode(stop) for stop in read]
  except UnicodeError as error:
    raise UserError(
      rf'generate.stop = {text}: {error.reason}; an escape is \n, \t or \x41, a backslash \\'
    ) from error


def until(pieces: Iterable[bytes], stops: Sequence[bytes]) -> Iterator[bytes]:
  """Yields `pieces` of bytes up to the stop that is completed first; the stop is not yielded.

  Bytes that may begin a stop are held back until the next piece.
  """
  text, hold = b'', max(map(len, stops), default=1) - 1
  for piece in pieces:
    text += piece
    found = [(start + len(stop), start) for stop in stops if (start := text.find(stop)) >= 0]
    if found:
      yield text[: min(found)[1]]
      return
    ready = max(0, len(text) - hold)
    yield text[:ready]
    text = text[ready:]
  yield text


def rows(
  chunks: Iterable[np.ndarray], samples: int, stops: Sequence[bytes],
  decode: Callable[[np.ndarray], bytes],
) -> list[bytes]:
  """Returns the bytes of each row; reads `chunks` until every row contains a stop."""
  texts = [b''] * samples
  for chunk in chunks:
    texts = [text + decode(row) for text, row in zip(texts, chunk, strict=True)]
    if all(any(stop in text for stop in stops) for text in texts):
      break
  return texts


def run(
  config: ConfigDict, workdir: pathlib.Path | str, *, checkpoint: str, prompt: str | None
) -> None:
  """Continues `prompt`, or standard input, with a checkpoint; prints text as it is generated.

  Several samples are generated in one batch, and printed one by one when all have ended.

  Raises:
    UserError: no such checkpoint, an invalid prompt, or too many positions for the encoding.
  """
  sampling = config.generate.to_dict()
  ends, samples = stops(sampling.pop('stop')), sampling.pop('samples')
  rng = jax.random.key(sampling.pop('seed'))
  setup = state.setup(config)
  task = setup.task
  saved = state.load(setup, workdir, checkpoint)
  if saved.read_with:
    print(report.read_with(saved.read_with), file=sys.stderr, flush=True)
  text = read(prompt)
  tokens = task.encode(text)
  state.check_limit(
    saved.model, [len(tokens) + config.generate.tokens], 'the prompt with generate.tokens'
  )
  with jax.set_mesh(setup.mesh):
    chunks = generate(
      saved.model, saved.params, [tokens] * samples, rng=rng, never=task.never, **sampling
    )
    if samples == 1:
      show(text, until((task.decode(chunk[0]) for chunk in chunks), ends))
    else:
      for number, new in enumerate(rows(chunks, samples, ends, task.decode), 1):
        print(f'--- sample {number} of {samples} ---')
        show(text, until([new], ends))


def show(prompt: bytes, pieces: Iterable[bytes]) -> None:
  """Prints pieces of UTF-8 as they come, after the prompt."""
  # A piece may end within a character: the decoder keeps its first bytes for the next piece.
  decoder = codecs.getincrementaldecoder('utf-8')(errors='replace')
  for piece in itertools.chain([prompt], pieces):
    print(decoder.decode(piece), end='', flush=True)
  print(decoder.decode(b'', final=True), flush=True)
