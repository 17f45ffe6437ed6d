"""Speech recognition: spoken digits, as their words in letters, from log-mel frames of 40 ms.

With form 'encoder', outputs of each frame are trained by connectionist temporal classification
(Graves et al. 2006, ICML), and the likeliest labelling is scored. With 'encoder_decoder', the
encoder reads the frames and a decoder writes the letters, as in Listen, Attend and Spell (Chan et
al. 2015, arXiv 1508.01211).

An utterance is a list of random digits by one speaker, with short pauses, in noise. By default each
letter is two tones, and needs nothing but NumPy: a toy. With task.speech.sounds=espeak, a
synthesizer speaks. The speakers of the tests are not those of training. Utterances of training last
from 1.12 s to the length of a row, at its start; silence fills the rest. Those of the test `late`
last half of a row and end it: the speech is at later positions, after silence.

The printed guess knows how many words were said and says 'five' for each.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.batch import Batch, Example
from posjax.data import espeak
from posjax.errors import UserError, one_of
from posjax.tasks.core import audio, transcripts
from posjax.tasks.core.generated import Generated, identity
from posjax.tasks.core.pairs import Pairs, Request
from posjax.tasks.core.task import Data, Task, Test

WORDS = 'zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'
LONGEST = max(map(len, WORDS))
GUESS = 'five'  # the word whose character error is lowest
SOUNDS = 'tones', 'espeak'
SPEAKERS, HELD_OUT = 24, 4  # held out: the last ones, for the tests
SHORTEST = 28  # frames that hold any word
PAUSE = 640, 2560  # samples before each word, and after the last
NOISE = -3.0, -2.0  # decimal logarithm of the noise's amplitude

Voice = list[np.ndarray]  # the samples of each of WORDS


@functools.cache
def recordings(sounds: str) -> list[Voice]:
  """Returns the voice of each speaker. Raises UserError if the synthesizer is missing."""
  if sounds == 'espeak':
    return espeak.speakers(WORDS, SPEAKERS, audio.RATE)
  return [audio.tones(np.random.default_rng(i), WORDS) for i in range(SPEAKERS)]


def utter(rng: np.random.Generator, voice: Voice, samples: int) -> tuple[np.ndarray, list[int]]:
  """Returns as many random words as fit into a number of samples, and their indices in WORDS."""
  chosen: list[int] = []
  pieces = [np.zeros(rng.integers(*PAUSE), np.int16)]
  while True:
    word = int(rng.integers(len(voice)))
    new = [*pieces, voice[word], np.zeros(rng.integers(*PAUSE), np.int16)]
    if sum(map(len, new)) > samples:
      return np.concatenate(pieces), chosen
    chosen, pieces = [*chosen, word], new


def heard(rng: np.random.Generator, wave_N: np.ndarray) -> np.ndarray:
  """Returns the frames of samples, int16, in noise of a random amplitude."""
  noise_N = rng.standard_normal(len(wave_N), np.float32) * np.float32(10 ** rng.uniform(*NOISE))
  return audio.frames(wave_N / np.float32(2**15) + noise_N)


def spell(words: Sequence[int]) -> str:
  return ' '.join(WORDS[word] for word in words)


def frames_of(batch: Batch) -> jax.Array:
  """Returns which frames are no padding, [B, T]."""
  segment_ids: Any = batch.stream.segment_ids
  return segment_ids == 0


@dataclasses.dataclass(frozen=True)
class Speech(Pairs):
  sounds: str = 'tones'  # of letters, or 'espeak': words of a synthesizer
  rows: int = 256  # utterances of a test at each length
  texts: int = 64  # test utterances that an encoder-decoder transcribes and scores; 0: none
  forms = ('encoder', 'encoder_decoder')
  vectors = audio.WIDTH
  unit = 'frame'
  evaluation = ('rows', 'texts')

  @property
  def vocabulary(self) -> int:
    return 0 if self.form == 'encoder' else super().vocabulary

  @property
  def outputs(self) -> int:
    return transcripts.OUTPUTS if self.form == 'encoder' else self.vocabulary

  @property
  def shown(self) -> tuple[str, ...]:  # type: ignore[override]
    return ('word error', 'character error') if self.form == 'encoder' else Pairs.shown

  @property
  def scored_texts(self) -> int:
    return self.texts if self.form == 'encoder_decoder' else 0

  def check(self, length: int) -> None:
    if self.sounds not in SOUNDS:
      raise ValueError(f'sounds = {self.sounds}: {one_of(self.sounds, SOUNDS)}')
    if self.sounds == 'espeak' and not importlib.util.find_spec('espeakng_loader'):
      raise ValueError(f'sounds = espeak: {espeak.INSTALL}')
    for name, least in (('rows', 1), ('texts', 0)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} = {getattr(self, name)}: must be at least {least}')
    if length < 2 * SHORTEST:
      raise ValueError(f'train.length = {length}: must be at least {2 * SHORTEST}')
    if self.tokenizer.name != 'bytes':
      raise ValueError(
        f'data.tokenizer = {self.tokenizer.name}: speech is spelled in letters; leave it at bytes'
      )

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    voices = recordings(self.sounds)
    known, others = voices[:-HELD_OUT], voices[-HELD_OUT:]
    own = identity(self)
    digest = hashlib.sha256(own['sha256'].encode())
    for samples in itertools.chain(*voices):
      digest.update(samples.tobytes())

    def train(rng: np.random.Generator) -> Example:
      return self.example(rng, known, int(rng.integers(SHORTEST, length + 1)), length)

    return Data(
      **own | dict(sha256=digest.hexdigest()), train=Generated(train, 'train'),
      validation=Generated(train, 'validation', self.rows).rows(length, length),
      tests={
        'speech': self._test(
          lambda rng, n: self.example(rng, others, n, n), lengths,
          'by other speakers than those of training',
        ),
        'late': self._test(
          lambda rng, n: self.example(rng, others, n // 2, n, late=True), lengths,
          'of half the length of a row, at its end instead of its start',
        ),
      },
    )

  def _test(
    self, make: Callable[[np.random.Generator, int], Example], lengths: Sequence[int], title: str
  ) -> Test:
    of_length = lambda n: Generated(lambda rng: make(rng, n), 'test', self.rows)
    rows = {n: of_length(n).rows(n, n) for n in lengths}
    floors = {n: self.guess(own) for n, own in rows.items()} if self.form == 'encoder' else {}
    return Test(f'{self.rows:,} utterances {title}', rows, floors)

  def guess(self, rows: Batch) -> dict[str, float]:
    """Returns the error rates of GUESS, said as often as there are words."""
    spaces_B = np.sum(rows.targets == transcripts.SPACE, axis=1)
    texts = [' '.join([GUESS] * (spaces + 1)) for spaces in spaces_B]
    said_BU = transcripts.to_ascii(texts, rows.targets.shape[1])
    return transcripts.mean_rates(said_BU, rows.targets, LONGEST)

  def example(
    self, rng: np.random.Generator, voices: Sequence[Voice], limit: int, length: int, *,
    late: bool = False,
  ) -> Example:
    """Returns an utterance of at most `limit` frames by a random speaker, in a row of `length`.

    Silence follows the utterance; if it is `late`, silence precedes it.
    """
    voice = voices[int(rng.integers(len(voices)))]
    wave_N, words = utter(rng, voice, limit * audio.FRAME)
    silence = length * audio.FRAME - len(wave_N)
    x = heard(rng, np.pad(wave_N, (silence, 0) if late else (0, silence)))
    text = self.tokenizer.encode(spell(words).encode())
    if self.form == 'encoder_decoder':
      row = np.concatenate([[self.tokenizer.bos], text, [self.tokenizer.eos]]).astype(np.int32)
      return Example(row[:-1], row[1:], np.ones(len(row) - 1, bool), source=x)
    # The targets fill a row, so that it has one utterance.
    targets = np.pad(text, (0, length - len(text)))
    return Example(x, targets.astype(np.int32), np.arange(length) < len(text))

  def loss(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Returns the nats of each token; with CTC, those of a transcript over its characters."""
    if self.form == 'encoder_decoder':
      return super().loss(outputs, batch)
    nats_B = transcripts.ctc_loss(outputs, frames_of(batch), batch.targets)
    share_B = nats_B / jnp.maximum(jnp.sum(batch.weights, axis=1), 1)
    return jnp.broadcast_to(share_B[:, None], batch.targets.shape)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    if self.form == 'encoder_decoder':
      return super().metrics(outputs, batch)
    found_BT = transcripts.greedy(outputs, frames_of(batch))
    rates = transcripts.error_rates(found_BT, batch.targets, LONGEST)
    exact_B = rates['character error'][0] == 0
    return rates | {
      'exact match': (exact_B, jnp.any(batch.weights, axis=1)),
      self.best: (self.loss(outputs, batch)[:, 0], jnp.sum(batch.weights, axis=1)),
    }

  def prompt(self, text: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns BOS, and the frames of words that a speaker of the tests says."""
    if self.form == 'encoder':
      return Task.prompt(self, text)
    words = text.decode(errors='replace').split()
    for word in words:
      if word not in WORDS:
        raise UserError(f'--prompt: {word}: {one_of(word, WORDS, "a word")}')
    pause, voice = np.zeros(PAUSE[1], np.int16), recordings(self.sounds)[-1]
    pieces = [piece for word in words for piece in (pause, voice[WORDS.index(word)])]
    wave_N = np.concatenate([*pieces, pause])
    return np.array([self.tokenizer.bos]), heard(np.random.default_rng(0), wave_N)

  def requests(self, opened: Data, count: int) -> list[Request]:
    rows = opened.tests['speech'].rows
    batch: Any = rows[min(rows)]
    start, found = np.array([self.tokenizer.bos]), []
    for i in range(min(count, self.rows)):
      text = self.answer(batch.targets[i])
      frames = batch.source.x[i][batch.source.segment_ids[i] == 0]
      found.append(Request(start, frames, None, text, text))
    return found

  def score(
    self, outputs: Sequence[str], references: Sequence[str], sources: Sequence[str]
  ) -> dict[str, float]:
    """Returns the word and character error rates of transcripts."""
    longest = max(map(len, (*outputs, *references)))
    x_BU, y_BU = (transcripts.to_ascii(texts, longest) for texts in (outputs, references))
    return transcripts.mean_rates(x_BU, y_BU, LONGEST)
