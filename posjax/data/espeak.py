"""Words spoken by eSpeak NG, a speech synthesizer: `pip install -e '.[speech]'`.

The package espeakng-loader holds its shared library and voices, which are called here and not
passed on: the synthesizer is under the GPL, version 3.
"""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from posjax.errors import UserError

PACKAGE = 'espeakng-loader'
INSTALL = f"it needs {PACKAGE}; run: pip install -e '.[speech]'"
ACCENTS = 'en', 'en-us', 'en-us-nyc', 'en-gb-scotland', 'en-gb-x-rp', 'en-gb-x-gbcwmd', 'en-029'
TIMBRES = 'm1', 'm2', 'm3', 'm4', 'm7', 'f1', 'f2', 'f3', 'f4', 'f5'
RETRIEVAL, CHARACTERS = 2, 1  # constants of espeak-ng's speak_lib.h
PACE, PITCH = 1, 3  # its parameters: words per minute, and 0 to 100
Callback = ctypes.CFUNCTYPE(
  ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@functools.cache
def speakers(words: Sequence[str], count: int, rate: int) -> list[list[np.ndarray]]:
  """Returns each word as each of `count` speakers says it, [N] int16 at `rate` samples per second.

  Speakers differ in accent, timbre, pace and pitch. The synthesizer keeps phases from one word to
  the next, so that a word is the same to the bit only after the same words since the program began.

  Raises:
    UserError: the package is missing, or the synthesizer fails.
  """
  library, native = load()
  rng, found = np.random.default_rng(0), []
  for _ in range(count):
    voice = f'{rng.choice(ACCENTS)}+{rng.choice(TIMBRES)}'.encode()
    call(library.espeak_SetVoiceByName, voice)
    library.espeak_SetParameter(PACE, int(rng.integers(140, 176)), 0)
    library.espeak_SetParameter(PITCH, int(rng.integers(30, 71)), 0)
    found.append([resample(say(library, word), native, rate) for word in words])
  return found


def load() -> tuple[Any, int]:
  """Returns the library, initialized, and its samples per second."""
  try:
    import espeakng_loader
  except ImportError as error:
    raise UserError(f'eSpeak NG: {INSTALL}') from error
  library = ctypes.CDLL(espeakng_loader.get_library_path())
  folder = espeakng_loader.get_data_path().encode()
  return library, library.espeak_Initialize(RETRIEVAL, 0, folder, 0)


def call(function: Any, *arguments: Any) -> None:
  """Calls a function of the library that returns 0. Raises UserError if it returns an error."""
  if status := function(*arguments):
    raise UserError(f'eSpeak NG: {function.__name__}{arguments} failed with status {status}')


def say(library: Any, text: str) -> np.ndarray:
  """Returns the samples of a text in the present voice, [N] int16."""
  pieces = []

  @Callback
  def collect(wave: Any, count: int, events: Any) -> int:
    if wave and count > 0:
      pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
    return 0  # go on

  library.espeak_ng_SetRandSeed(ctypes.c_long(1))
  library.espeak_SetSynthCallback(collect)
  read = text.encode() + b'\0'
  call(library.espeak_Synth, read, len(read), 0, 1, 0, CHARACTERS, None, None)
  return np.concatenate(pieces)


def resample(wave_N: np.ndarray, old: int, new: int) -> np.ndarray:
  """Returns samples at another rate, int16."""
  from scipy.signal import resample_poly

  wave_N = resample_poly(wave_N.astype(np.float64), new, old)
  return np.clip(np.round(wave_N), -(2**15), 2**15 - 1).astype(np.int16)

