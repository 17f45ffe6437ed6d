"""Continues a prompt with the model of a run, and shows the text while it is generated."""

import codecs
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from posjax import run_summary, state
from posjax.decoding import generate, pad
from posjax.errors import UserError

LONGEST = 2**16 - 1  # bytes of a prompt: attention is quadratic, a minute on two CPU cores


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
  del sampling['beams'], sampling['length_penalty']  # of texts that a task scores
  ends, samples = stops(sampling.pop('stop')), sampling.pop('samples')
  rng = jax.random.key(sampling.pop('seed'))
  setup = state.setup(config)
  task = setup.task
  saved = state.load(setup, workdir, checkpoint)
  if saved.read_with:
    print(run_summary.read_with(saved.read_with), file=sys.stderr, flush=True)
  text = read(prompt)
  tokens, source = task.prompt(text)
  pos = task.prompt_positions(tokens)
  after = None if pos is None else task.position_after(pos)
  first = len(tokens) if after is None else int(after.max())
  longest = max(first + config.generate.tokens, 0 if source is None else len(source))
  state.check_limit(saved.model, (longest,) * task.axes, 'the prompt with generate.tokens')
  each = lambda x: None if x is None else [x] * samples
  prompts = pad([tokens] * samples, each(source), each(pos), each(after))
  shown = text if task.end is None else text + b'\n'  # a continuation, or an answer
  with jax.set_mesh(setup.mesh):
    chunks = ended(
      generate(saved.model, saved.params, prompts, rng=rng, never=task.never, **sampling), task.end
    )
    if samples == 1:
      show(shown, until((task.decode(row) for (row,) in chunks), ends))
    else:
      for number, new in enumerate(rows(chunks, samples, ends, task.decode), 1):
        print(f'--- sample {number} of {samples} ---')
        show(shown, until([new], ends))


def ended(chunks: Iterable[np.ndarray], end: int | None) -> Iterator[list[np.ndarray]]:
  """Yields the rows of each chunk without `end` and what follows, until all rows have ended."""
  over: set[int] = set()
  for chunk in chunks:
    found = []
    for number, row in enumerate(chunk):
      stop = [*np.flatnonzero(row == end), len(row)][0] if end is not None else len(row)
      found.append(row[: 0 if number in over else stop])
      over |= {number} if stop < len(row) else set()
    yield found
    if len(over) == len(chunk):
      return


def show(prompt: bytes, pieces: Iterable[bytes]) -> None:
  """Prints pieces of UTF-8 as they come, after the prompt."""
  # A piece may end within a character: the decoder keeps its first bytes for the next piece.
  decoder = codecs.getincrementaldecoder('utf-8')(errors='replace')
  for piece in itertools.chain([prompt], pieces):
    print(decoder.decode(piece), end='', flush=True)
  print(decoder.decode(b'', final=True), flush=True)
