"""Speech: spectra, CTC, error rates, utterances, and transcripts that a decoder writes."""

import importlib.util
import itertools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import main, state, texts
from posjax import run as run_lib
from posjax.batch import Example, padded
from posjax.data import espeak, pipeline
from posjax.decoding import generate, pad
from posjax.errors import UserError
from posjax.models import transformer
from posjax.models.transformer import outputs_of
from posjax.tasks import speech
from posjax.tasks.core import audio, transcripts
from posjax.tasks.core.transcripts import to_ascii
from posjax.tasks.speech import SHORTEST, WORDS, Speech

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'mel_filters.npz'
CTC = Speech(form='encoder', rows=4)
WRITTEN = Speech(form='encoder_decoder', rows=4, texts=2)
LENGTH = 64


def text(ids):
  return bytes(np.asarray(ids, np.uint8)).rstrip(b'\0').decode()


# Spectra.


@pytest.mark.parametrize('mels', [80, 128])
def test_mel_filters_equal_those_of_whisper(mels):
  with np.load(GOLDEN) as golden:
    want = golden[f'mel_{mels}'].T.astype(np.float64)
  np.testing.assert_allclose(audio.mel_filters(16_000, 400, mels), want, rtol=1e-7, atol=3e-9)


def test_a_spectrum_is_that_of_its_window():
  """Spectra 0, 5 and the last one, by the definition of the Fourier transform, in float64."""
  wave_N = np.random.default_rng(0).normal(scale=0.1, size=3000).astype(np.float32)
  found = audio.log_mel(wave_N)
  assert found.shape == (18, audio.MELS)
  n = np.arange(400)
  window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 400)
  waves_FN = np.exp(-2j * np.pi * np.arange(201)[:, None] * n / 400)
  filters = audio.mel_filters(16_000, 400, audio.MELS)
  level = lambda t: np.log10(np.abs(waves_FN @ (window * padded[160 * t :][:400])) ** 2 @ filters)
  padded = np.pad(wave_N.astype(np.float64), (0, 400))
  for t in (0, 5, 17):
    np.testing.assert_allclose(found[t], (level(t) + 4) / 1.25, atol=1e-4)


def test_a_frame_is_four_spectra_and_levels_end_80_db_below_the_loudest():
  """A tone of 1,000 Hz is loudest in the band around it; silence has the lowest level."""
  wave_N = 0.5 * np.sin(2 * np.pi * 1000 / audio.RATE * np.arange(3 * audio.FRAME + 100))
  frames = audio.frames(np.pad(wave_N, (0, 4 * audio.FRAME)))
  assert frames.shape == (7, 160) and frames.dtype == np.float32
  spectra = frames.reshape(-1, audio.MELS)
  np.testing.assert_array_equal(spectra[:8], audio.log_mel(np.float32(wave_N))[:8])
  peaks = audio.to_hertz(np.linspace(0, audio.to_mel(np.array(8000.0)), audio.MELS + 2))[1:-1]
  assert {*spectra[:8].argmax(axis=1)} == {np.abs(peaks - 1000).argmin()}
  assert spectra.max() - spectra.min() == pytest.approx(8 / 1.25)
  assert (spectra[16:] == spectra.min()).all()


# Transcripts.


def collapse(labels):
  return tuple(own for own, _ in itertools.groupby(labels) if own != transcripts.BLANK)


@pytest.mark.parametrize('target', [(1, 2), (1, 1), (2,), (1, 2, 1), (1, 1, 2)])
def test_the_loss_sums_over_all_labellings(target):
  """Five frames of three labels, the last frame of one row padding; unlikely padding costs none."""
  outputs = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
  there = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], bool)
  rows = np.array([[*target, *[0] * (4 - len(target))]] * 2)
  found = transcripts.ctc_loss(jnp.asarray(outputs), jnp.asarray(there), jnp.asarray(rows))
  logp = np.asarray(jax.nn.log_softmax(outputs), np.float64)
  for b, frames in enumerate((5, 4)):
    ways = [
      math.exp(sum(logp[b, t, label] for t, label in enumerate(labels)))
      for labels in itertools.product(range(3), repeat=frames) if collapse(labels) == target
    ]
    assert float(found[b]) == pytest.approx(-math.log(sum(ways)), rel=1e-5)


def test_greedy_decoding_collapses_the_likeliest_labels():
  rng = np.random.default_rng(0)
  labels = rng.integers(3, size=(20, 12))
  there = np.arange(12) < rng.integers(1, 13, size=20)[:, None]
  outputs = np.eye(3)[labels] + rng.uniform(0, 0.5, (20, 12, 3))
  found = np.asarray(transcripts.greedy(jnp.asarray(outputs), jnp.asarray(there)))
  for b in range(20):
    want = collapse(labels[b, there[b]])
    assert (*found[b],) == want + (0,) * (12 - len(want))


def garbled(rng, sentence):
  """Returns a sentence with letters and spaces deleted, inserted and replaced at random."""
  changed = [
    rng.choice([letter, '', f'{letter}e', 'x', ' '], p=[0.6, *[0.1] * 4]) for letter in sentence
  ]
  return ' '.join(''.join(changed).split())


def test_error_rates_equal_those_of_jiwer():
  jiwer = pytest.importorskip('jiwer')
  rng = np.random.default_rng(0)
  true = [speech.spell(rng.integers(10, size=rng.integers(1, 7))) for _ in range(40)]
  said = [garbled(rng, sentence) for sentence in true]
  said[0], said[1] = '', true[1] + 'xxxxxxxxxx'
  found = WRITTEN.score(said, true, true)
  assert found['word error'] == pytest.approx(jiwer.wer(true, said))
  assert found['character error'] == pytest.approx(jiwer.cer(true, said))
  assert 0.2 < found['character error'] < 0.6 < found['word error']


def test_a_transcript_has_the_words_between_its_spaces():
  found, counts = transcripts.words(jnp.asarray(to_ascii([' a  bcdef ', 'ab'], 12)), longest=3)
  assert [*counts] == [2, 1]
  assert [text(word) for word in found[0]] == ['a', 'bcde', *[''] * 4]
  assert [text(word) for word in found[1]] == ['ab', *[''] * 5]


# Utterances.


def test_every_word_fits_and_can_be_labelled():
  """Of each speaker: a word within the shortest row; and frames for its letters and a space."""
  check_voices(speech.recordings('tones'))


def check_voices(voices):
  assert len(voices) == speech.SPEAKERS
  for voice in voices:
    for word, samples in zip(WORDS, voice, strict=True):
      repeats = sum(a == b for a, b in itertools.pairwise(word))
      assert len(samples) + 2 * speech.PAUSE[1] < SHORTEST * audio.FRAME
      assert (len(samples) + speech.PAUSE[0]) / audio.FRAME > len(word) + repeats + 1
      assert np.abs(samples.astype(int)).max() > 3000


def test_letters_are_ordered_pairs_of_pitches():
  assert len({*audio.LETTERS.values()}) == 26 and all(a != b for a, b in audio.LETTERS.values())
  (there,), (back,) = (audio.tones(np.random.default_rng(3), [own]) for own in ('ab', 'ba'))
  again = audio.tones(np.random.default_rng(3), ['ab'])[0]
  assert (there == again).all() and not np.array_equal(there, back)
  assert not np.array_equal(there, audio.tones(np.random.default_rng(4), ['ab'])[0])


def loud(rows):
  """Returns the frames that are more than noise."""
  return rows.stream.x.max(axis=-1) > 1.6


def test_a_row_is_one_utterance_and_then_silence():
  rows = padded([CTC.open({}, LENGTH, []).train[i][0] for i in range(40)], LENGTH, LENGTH)
  assert (rows.stream.segment_ids == 0).all() and rows.stream.x.shape == (40, LENGTH, audio.WIDTH)
  said = [text(row) for row in rows.targets]
  assert {*' '.join(said).split()} == {*WORDS} and len({*said}) > 35
  assert (rows.weights.sum(axis=1) == [len(own) for own in said]).all()
  ends = LENGTH - np.argmax(loud(rows)[:, ::-1], axis=1)
  assert ends.min() < SHORTEST and LENGTH - 8 < ends.max() <= LENGTH
  assert np.corrcoef(ends, [len(own) for own in said])[0, 1] > 0.9


def test_late_utterances_are_those_of_half_the_length_at_the_end_of_a_row():
  tests = Speech(form='encoder', rows=8).open({}, LENGTH, [LENGTH, 2 * LENGTH]).tests
  early, late = tests['speech'].rows[LENGTH], tests['late'].rows[2 * LENGTH]
  assert [*map(text, early.targets)] == [*map(text, late.targets)]
  assert not loud(late)[:, : LENGTH - 1].any() and loud(late)[:, LENGTH:].any(axis=1).all()
  np.testing.assert_allclose(loud(late).sum(axis=1), loud(early).sum(axis=1), atol=3)


def test_the_tests_have_other_speakers(monkeypatch):
  """The speakers of training say silence only, those of the tests do not."""
  own = [*speech.recordings('tones')]
  own[: -speech.HELD_OUT] = [[0 * samples for samples in voice] for voice in own[:-speech.HELD_OUT]]
  monkeypatch.setattr(speech, 'recordings', lambda sounds: own)
  opened = CTC.open({}, LENGTH, [LENGTH])
  assert not loud(opened.validation).any()
  assert loud(opened.tests['speech'].rows[LENGTH]).any(axis=1).all()


def test_the_guess_is_the_best_word():
  """Of 500 sentences, and in the floors of a test."""
  rng = np.random.default_rng(0)
  true = [speech.spell(rng.integers(10, size=rng.integers(2, 7))) for _ in range(500)]
  rates = {}
  for word in WORDS:
    said = [' '.join([word] * len(own.split())) for own in true]
    rates[word] = transcripts.mean_rates(to_ascii(said, 48), to_ascii(true, 48), speech.LONGEST)
    assert rates[word]['word error'] == pytest.approx(0.9, abs=0.02)
  assert min(rates, key=lambda word: rates[word]['character error']) == speech.GUESS
  test = CTC.open({}, LENGTH, [LENGTH]).tests['speech']
  true = [text(row) for row in test.rows[LENGTH].targets]
  said = [' '.join(['five'] * len(own.split())) for own in true]
  assert test.floors[LENGTH] == pytest.approx(CTC.score(said, true, true))


@pytest.mark.parametrize('task', [CTC, WRITTEN], ids=['ctc', 'written'])
def test_rows_resume_bitwise(task):
  make = lambda seed: pipeline.batches(
    task.open({}, LENGTH, []).train, name='speech', length=LENGTH, answers=LENGTH, batch=2,
    seed=seed,
  )
  run = make(0)
  next(run)
  saved = run.get_state()
  want = [next(run) for _ in range(2)]
  resumed = make(0)
  resumed.set_state(saved)
  for batch in want:
    jax.tree.map(np.testing.assert_array_equal, batch, next(resumed))
  frames = want[0].stream.x if task is CTC else want[0].source.x
  assert frames.shape == (2, LENGTH, audio.WIDTH) and frames.dtype == np.float32
  assert (np.sum(frames != 0, axis=(1, 2)) == LENGTH * audio.WIDTH).all()


def test_sources_that_are_vectors_are_packed_and_padded():
  """Two examples share a row; the third does not fit. Vectors keep their values and dtype."""
  sizes = (5, 6, 7)
  made = [
    Example(*np.full((2, 2), size), np.ones(2, bool), source=np.full((size, 3), size / 4))
    for size in sizes
  ]
  batch = next(pipeline.batches(
    [(example,) for example in made], name='vectors', length=12, answers=12, batch=2, seed=0
  ))
  for row in range(2):
    own = batch.source.segment_ids[row]
    for segment in range(own.max() + 1):
      size = int(batch.stream.x[row][batch.stream.segment_ids[row] == segment][0])
      np.testing.assert_array_equal(batch.source.x[row][own == segment], made[size - 5].source)
      np.testing.assert_array_equal(batch.source.pos[row][own == segment][:, 0], np.arange(size))
    assert not batch.source.x[row][own == -1].any()
  assert batch.source.segment_ids.max() == 1 and batch.source.x.shape == (2, 12, 3)
  rows = padded(made, 12, 12)
  assert rows.source.x.dtype == np.float64 and [*rows.source.x.sum(axis=(1, 2))] == [
    size * 3 * size / 4 for size in sizes
  ]


# Loss and metrics.


def test_padding_changes_no_loss_and_has_no_gradient():
  examples = [CTC.open({}, LENGTH, []).train[i][0] for i in range(2)]
  rows = padded(examples, LENGTH, LENGTH)
  longer = padded([*examples, examples[0]], LENGTH + 16, LENGTH + 16)
  longer.weights[2] = False  # a row that only fills a batch
  outputs = np.random.default_rng(0).normal(size=(3, LENGTH + 16, 128)).astype(np.float32)
  total = lambda own, rows: jnp.sum(CTC.loss(own, rows) * rows.weights)
  loss, grad = jax.value_and_grad(total)(jnp.asarray(outputs), longer)
  assert float(loss) == pytest.approx(float(total(jnp.asarray(outputs[:2, :LENGTH]), rows)), 1e-5)
  assert np.isfinite(grad).all() and np.asarray(grad)[:2, :LENGTH].any()
  assert not np.asarray(grad)[:2, LENGTH:].any() and not np.asarray(grad)[2].any()


def test_metrics_are_those_of_the_greedy_transcript():
  rows = CTC.open({}, LENGTH, [LENGTH]).tests['speech'].rows[LENGTH]
  labels = rows.targets.copy()
  labels[0] = np.roll(labels[0], 5)  # blanks first
  labels[1, rows.weights[1].sum() - 1] = ord('x')
  labels[2] = 0
  # Twice as many frames, so that a blank separates equal letters.
  spread = np.zeros((4, 2 * LENGTH), np.int32)
  spread[:, ::2] = labels
  batch = padded([
    CTC.example(np.random.default_rng(0), speech.recordings('tones'), 24, 2 * LENGTH)._replace(
      targets=np.pad(row, (0, LENGTH)), weights=np.pad(weights, (0, LENGTH)),
    ) for row, weights in zip(rows.targets, rows.weights, strict=True)
  ], 2 * LENGTH, 2 * LENGTH)
  found = CTC.metrics(jnp.asarray(30 * np.eye(128)[spread], jnp.float32), batch)
  sizes = rows.weights.sum(axis=1)
  words = [len(text(row).split()) for row in rows.targets]
  assert [*found['exact match'][0]] == [True, False, False, True]
  np.testing.assert_allclose(found['character error'][0], [0, 1 / sizes[1], 1, 0])
  np.testing.assert_allclose(found['word error'][0], [0, 1 / words[1], 1, 0])
  assert [*found['word error'][1]] == words and [*found['character error'][1]] == [*sizes]
  nats = np.asarray(found['nats/token'][0])
  assert nats[0] < 1e-4 and nats[3] < 1e-4 and nats[2] > 1


# A decoder that reads frames.


def built(*flags):
  line = ['posjax', '--config=rope', '--config.task.name=speech', *flags]
  config = run_lib.parse(line).config
  return config, *state.build(config)


def test_a_written_transcript_is_that_of_forward_passes():
  """Random weights: greedy decoding with a cache, from frames padded to a bucket."""
  _, task, model = built('--config.model.form=encoder_decoder')
  params = transformer.init(model, jax.random.key(0))
  params = jax.tree.map(lambda x: 3 * x, params)
  opened = Speech(form='encoder_decoder', rows=2).open({}, LENGTH, [LENGTH])
  requests = task.requests(opened, 2)
  rows = opened.tests['speech'].rows[LENGTH]
  assert [r.text for r in requests] == [text(row[:-1]) for row in map(trimmed, rows.targets)]
  prompts = pad([r.prompt for r in requests], [r.source for r in requests])
  assert prompts.sources.shape == (2, LENGTH, audio.WIDTH)
  found = np.concatenate([*generate(
    model, params, prompts, tokens=6, rng=jax.random.key(0), temperature=0.0, top_k=0, top_p=1.0,
  )], axis=1)
  assert len({*found[0], *found[1]}) > 2
  for i, request in enumerate(requests):
    x = np.append(request.prompt, found[i, :-1]).astype(np.int32)
    example = task.example(
      np.random.default_rng(0), speech.recordings('tones'), SHORTEST, LENGTH
    )._replace(x=x, targets=x, weights=x > 0, source=request.source)
    row = padded([example], LENGTH, LENGTH)
    outputs = jax.jit(lambda p, b: outputs_of(model, p, b))(params, row)
    assert [*jnp.argmax(outputs[0, : len(x)], axis=-1)] == [*found[i]]


def trimmed(targets):
  return targets[: np.flatnonzero(targets == WRITTEN.tokenizer.eos)[0] + 1] % 256


def test_generated_transcripts_are_scored():
  config, task, model = built(
    '--config.model.form=encoder_decoder', '--config.task.speech.texts=2',
    '--config.task.speech.rows=2',
  )
  opened = task.open({}, LENGTH, [LENGTH])
  params = transformer.init(model, jax.random.key(0))
  title, scores = texts.score(config, task, model, params, opened)
  assert title == 'generated greedily: 2 texts of at most 64 tokens'
  assert {*scores} == {'word error', 'character error'} and scores['word error'] > 0.5


def test_a_prompt_is_spoken():
  start, frames = WRITTEN.prompt(b'three  seven')
  voice = speech.recordings('tones')[-1]
  samples = len(voice[3]) + len(voice[7]) + 3 * speech.PAUSE[1]
  assert [*start] == [WRITTEN.tokenizer.bos] and len(frames) == samples // audio.FRAME
  with pytest.raises(UserError, match='^--prompt: sven: did you mean seven\\? A word must be one'):
    WRITTEN.prompt(b'three sven')
  with pytest.raises(UserError, match='^--mode=generate: this task has no text to continue'):
    CTC.prompt(b'three')


# Settings.


@pytest.mark.parametrize(('flag', 'message'), [
  ('task.speech.sounds=espeek', 'task.speech.sounds = espeek: did you mean espeak? It must be'),
  ('task.speech.rows=0', 'task.speech.rows = 0: must be at least 1'),
  ('task.speech.texts=-1', 'task.speech.texts = -1: must be at least 0'),
  ('train.length=55', 'train.length = 55: must be at least 56'),
  ('model.form=decoder', 'model.form = decoder: task.name is speech, which supports encoder or '
   'encoder_decoder; auto selects the first'),
])
def test_wrong_settings_are_refused(flag, message):
  with pytest.raises(UserError) as raised:
    built(f'--config.{flag}')
  assert str(raised.value).startswith(message)


def test_a_missing_synthesizer_is_named_before_the_run(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError) as raised:
    built('--config.task.speech.sounds=espeak')
  assert str(raised.value) == (
    "task.speech.sounds = espeak: it needs espeakng-loader; run: pip install -e '.[speech]'"
  )


def test_the_synthesizer_speaks():
  pytest.importorskip('espeakng_loader')
  voices = speech.recordings('espeak')
  check_voices(voices)
  opened = Speech(form='encoder', rows=2, sounds='espeak').open({}, LENGTH, [LENGTH])
  assert opened.sha256 != CTC.open({}, LENGTH, [LENGTH]).sha256
  assert espeak.speakers(WORDS, speech.SPEAKERS, audio.RATE) is voices


# Runs.


@pytest.mark.slow
@pytest.mark.parametrize(('form', 'nats'), [('encoder', 3.0), ('encoder_decoder', 1.5)])
def test_sixty_steps_learn(form, nats, tmp_path):
  """The first steps of CTC learn to label most frames with BLANK: a loss of 9.5 before them."""
  line = [
    'posjax', '--config=configs/tasks/speech.py', f'--config.model.form={form}',
    f'--workdir={tmp_path}', '--config.train.steps=60', '--config.optimizer.warmup=10',
    '--config.task.speech.rows=16', '--config.task.speech.texts=2', '--config.writers=()',
  ]
  assert main.run(line) == 0
  result = json.loads((tmp_path / 'evaluation.json').read_text())
  found = {(r['test'], r['metric'], r['length']): r['value'] for r in result['records']}
  assert found['speech', 'nats/token', LENGTH] < nats
  assert ('generated', 'word error', LENGTH) in found or form == 'encoder'
