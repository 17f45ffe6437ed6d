"""Features of speech in NumPy: log-mel spectra in frames. Words in tones, which need no recordings.

A spectrum every 10 ms, of a window of 25 ms, in mel bands of equal area (Slaney 1998, "Auditory
Toolbox", Interval Research report 1998-010). Its logarithm is cut 80 dB below the loudest band, as
in Whisper (Radford et al. 2022, arXiv 2212.04356), and scaled to a variance of about 1, that of
token embeddings. A frame of a model is four spectra, one after the other (Sak et al. 2015, arXiv
1507.06947).
"""

import functools
import itertools
import string
from collections.abc import Sequence

import numpy as np
import scipy.fft

RATE = 16_000  # samples per second
WINDOW, HOP = 400, 160  # samples of a spectrum, and from one spectrum to the next
MELS, STACK = 40, 4  # bands of a spectrum, and spectra of a frame
FRAME = HOP * STACK  # samples from one frame to the next
WIDTH = MELS * STACK  # of a frame
MIDDLE, SPREAD = -4.0, 1.25  # of decimal logarithms of speech in noise
HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)  # periodic

# The mel scale is linear up to KNEE Hz and logarithmic above: 27 steps from 1,000 to 6,400 Hz.
KNEE, STEP, LOG_STEP = 1000.0, 200 / 3, np.log(6.4) / 27

PITCHES = 300.0 * 1.5 ** np.arange(6)  # Hz
LETTERS = dict(zip(string.ascii_lowercase, itertools.permutations(range(6), 2), strict=False))
FADE = 80  # samples over which a tone begins, and ends
HARMONICS = 4


def to_mel(hertz: np.ndarray) -> np.ndarray:
  above = KNEE / STEP + np.log(np.maximum(hertz, KNEE) / KNEE) / LOG_STEP
  return np.where(hertz < KNEE, hertz / STEP, above)


def to_hertz(mel: np.ndarray) -> np.ndarray:
  above = KNEE * np.exp(LOG_STEP * (mel - KNEE / STEP))
  return np.where(mel < KNEE / STEP, mel * STEP, above)


@functools.cache
def mel_filters(rate: int, window: int, mels: int) -> np.ndarray:
  """Returns triangular filters of equal area, evenly spaced in mel, [window // 2 + 1, mels].

  Args:
    rate: samples per second; the filters reach from 0 Hz to half of it.
    window: samples of a spectrum.
    mels: how many filters.
  """
  bins_F = np.fft.rfftfreq(window, 1 / rate)
  corners = to_hertz(np.linspace(0, to_mel(np.array(rate / 2)), mels + 2))
  low_M, peak_M, high_M = corners[:-2], corners[1:-1], corners[2:]
  rise_FM = (bins_F[:, None] - low_M) / (peak_M - low_M)
  fall_FM = (high_M - bins_F[:, None]) / (high_M - peak_M)
  return np.maximum(0, np.minimum(rise_FM, fall_FM)) * 2 / (high_M - low_M)


def log_mel(wave_N: np.ndarray) -> np.ndarray:
  """Returns log-mel spectra [N // HOP, MELS] of float32 samples in [-1, 1]."""
  padded = np.pad(wave_N, (0, WINDOW - HOP))
  windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
  spectra_TF = scipy.fft.rfft(windows * HANN)  # 8 times as fast as numpy's in float32
  power_TF = spectra_TF.real**2 + spectra_TF.imag**2
  mel_TM = power_TF @ mel_filters(RATE, WINDOW, MELS).astype(np.float32)
  level_TM = np.log10(np.maximum(mel_TM, np.float32(1e-10)))
  return (np.maximum(level_TM, np.max(level_TM) - 8) - MIDDLE) / SPREAD


def frames(wave_N: np.ndarray) -> np.ndarray:
  """Returns the frames of samples in [-1, 1], [N // FRAME, WIDTH] float32."""
  whole = wave_N[: len(wave_N) // FRAME * FRAME].astype(np.float32)
  return log_mel(whole).reshape(-1, WIDTH)


def tones(rng: np.random.Generator, words: Sequence[str]) -> list[np.ndarray]:
  """Returns words of small letters as a random speaker says them, each [N] int16.

  A letter is one of the 30 ordered pairs of six pitches: a frame has one tone of it, and the order
  of two tones makes the letter. Speakers differ in pitch, pace and timbre, tones also in length.
  """
  pitch, pace = rng.uniform(0.92, 1.08), rng.uniform(0.85, 1.15)
  timbre_K = rng.uniform(0.1, 1, HARMONICS) / 2.0 ** np.arange(HARMONICS)
  timbre_K *= 0.3 / timbre_K.sum()

  def tone(index: int) -> np.ndarray:
    samples = np.arange(int(pace * rng.uniform(0.040, 0.056) * RATE))
    order_K1 = np.arange(1, HARMONICS + 1)[:, None]
    waves_KN = np.sin(2 * np.pi * pitch * PITCHES[index] / RATE * order_K1 * samples)
    envelope_N = np.clip(np.minimum(samples, len(samples) - samples) / FADE, 0, 1)
    return envelope_N * (timbre_K @ waves_KN)

  say = lambda word: np.concatenate([tone(index) for own in word for index in LETTERS[own]])
  return [pcm(say(word)) for word in words]


def pcm(wave_N: np.ndarray) -> np.ndarray:
  """Returns samples in [-1, 1] as int16."""
  return np.round(wave_N * 32767).astype(np.int16)
