"""Generation: cached decoding equals uncached decoding; sampling has the right distribution."""

import contextlib
import functools
import io
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posjax import config as config_lib
from posjax import data, generate, state
from posjax import decoding as decoding_lib
from posjax.decoding import pad
from posjax.encodings import Positions, find
from posjax.encodings.randomize import Randomize
from posjax.errors import UserError
from posjax.models import transformer
from posjax.models.pattern import Pattern
from posjax.models.settings import HeadSettings, NormSettings
from posjax.models.transformer import Transformer
from tests.support.meshes import mesh_of

GREEDY = dict(temperature=0.0, top_k=0, top_p=1.0, never=(data.BOS,))


def make_model(name, **fields):
  sizes = dict(dim=16, layers=2, heads=2, kv_heads=1, head_dim=8, hidden=16)
  model = Transformer(pattern=Pattern(()), vocabulary=data.TEXT, **sizes, **fields)
  model = model.clone(pattern=Pattern((find(name)().with_dims(model.dims),)))
  # Larger weights than at initialization, so that the likeliest token is clear and varies.
  params = jax.tree.map(lambda x: 2 * x, transformer.init(model, jax.random.key(1)))
  return model, params


def greedy_by_hand(model, params, prompt, tokens):
  """Decodes greedily without a cache."""

  @jax.jit
  def logits(text, at):
    return model.apply({'params': params}, text, at)[0]

  text = np.zeros(len(prompt) + tokens, np.int32)
  text[: len(prompt)] = prompt
  row = jnp.arange(len(text))[None]
  at = Positions(row[..., None], row, jnp.zeros_like(row))
  for t in range(len(prompt), len(text)):
    text[t] = np.argmax(logits(text[None], at)[0, t - 1, : data.BOS])
  return text[len(prompt) :]


@pytest.mark.parametrize('name', [pytest.param('sinusoidal', marks=pytest.mark.slow), 'rope'])
def test_greedy_equals_the_uncached_forward(name):
  """70 tokens after a prompt without padding: more than the first cache can hold."""
  model, params = make_model(name)
  prompts = [data.encode(b'import os' * 7), data.encode(b'x')]
  assert len(prompts[0]) == decoding_lib.BUCKET
  chunks = list(
    decoding_lib.generate(
      model, params, pad(prompts), tokens=70, rng=jax.random.key(0), **GREEDY
    )
  )
  text = np.concatenate(chunks, axis=1)
  assert text.shape == (2, 70)
  for row, prompt in zip(text, prompts, strict=True):
    np.testing.assert_array_equal(row, greedy_by_hand(model, params, prompt, 70))
  assert len(np.unique(text)) > 3  # a model that repeats one byte would pass too easily


# Configs with special caches, states or positions; the contract decodes with all encodings.
CONFIGS = (
  'alibi', 'bipe', 'convolution', 'fox', 'gemma3', 'irope', 'learned', 'path', 'randomize',
  'rnope_swa', 'rope', 'selective_rope', 'shaw', 't5',
)


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_generated_tokens_are_the_likeliest_of_one_forward_pass(name):
  """200 tokens after prompts of the training length equal one uncached forward pass.

  `python -m pytest -m slow -rP` prints how far a token's logit lies below the largest.
  """
  longer = ['--config.encoding.learned.length=512'] if name == 'learned' else []
  # With a tied table, an untrained model repeats its input.
  config, _, _ = config_lib.load(name, ['--config.model.head.tied=false', *longer])
  _, model = state.build(config)
  params = transformer.init(model, jax.random.key(1))
  rng = np.random.default_rng(2)
  draw = lambda x: jnp.asarray(rng.normal(scale=0.3, size=x.shape), x.dtype)
  params |= {'encoding': jax.tree.map(draw, params['encoding'])}
  prompts = rng.integers(data.BOS, size=(2, config.train.length))

  key = jax.random.key(0)
  new = [*decoding_lib.generate(model, params, pad(prompts), tokens=200, rng=key, **GREEDY)]
  text = np.concatenate([prompts, *new], axis=1)
  cache, order = None, jnp.arange(text.shape[1])[None]
  if any(encoding.depends_on_capacity for encoding in model.pattern.by_name.values()):
    # Draws depend on the capacity, which is a bucket size.
    cache = model.init_cache(2, 512, rng=jax.random.fold_in(key, 0))
  at = Positions(order[..., None], order, jnp.zeros_like(order))
  logits, _ = jax.jit(model.apply)({'params': params}, text, at, cache)

  before = np.asarray(logits[:, config.train.length - 1 : -1, : data.BOS])
  after = text[:, config.train.length :, None]
  below = before.max(axis=-1) - np.take_along_axis(before, after, axis=-1)[..., 0]
  print(f'{name}: at most {below.max():.1e} below; {len(np.unique(after))} different tokens')
  assert below.shape == (2, 200) and below.max() < 1e-3
  assert len(np.unique(after)) > 3  # a model that repeats one byte would pass too easily


def count_compilations(call):
  """Returns how often XLA compiles while `call` runs."""
  events = []
  listen = lambda event, duration, **_: events.append(event)
  jax.monitoring.register_event_duration_secs_listener(listen)
  call()
  jax.monitoring.unregister_event_duration_listener(listen)
  return events.count('/jax/core/compile/backend_compile_duration')


def test_ten_prompts_of_a_bucket_compile_as_often_as_one():
  """For all lengths and numbers of new tokens that fit a bucket together."""
  model, params = make_model('alibi')
  rng = jax.random.key(0)

  def ask(lengths, tokens):
    for length, number in zip(lengths, tokens, strict=True):
      padded = pad([data.encode(b'a' * length)])
      for _ in decoding_lib.generate(model, params, padded, tokens=number, rng=rng, **GREEDY):
        pass

  assert count_compilations(lambda: ask([3], [100])) >= 4  # weights, prompt, steps, cache growth
  assert count_compilations(lambda: ask(range(1, 60, 6), range(85, 185, 10))) == 0


@pytest.mark.filterwarnings('error')
def test_a_step_writes_into_the_given_cache():
  """No key is copied: XLA reuses the memory, without a donation warning."""
  model, params = make_model('fox')
  params = decoding_lib.unstack_layers(model, params)
  prompts = pad([np.arange(9), np.arange(70)])
  key = jax.random.key(0)
  decoding = decoding_lib.prefill(
    model, params, prompts, key, capacity=256, slots=256, **GREEDY
  )
  compiled = decoding_lib.decode.lower(model, params, decoding, key, **GREEDY).compile()
  given = sum(x.nbytes for x in jax.tree.leaves(decoding))
  assert compiled.memory_analysis().alias_size_in_bytes == given


def test_positions_are_drawn_once_for_the_entire_capacity(monkeypatch):
  model, params = make_model('randomize')
  drawn = []
  draw = Randomize.init_state
  monkeypatch.setattr(Randomize, 'init_state', lambda *args: drawn.append(args[1:]) or draw(*args))
  prefill = functools.partial(
    decoding_lib.prefill, model, capacity=256, slots=128, temperature=1.0, top_k=0, top_p=1.0
  )
  params = decoding_lib.unstack_layers(model, params)
  jax.eval_shape(prefill, params, pad([[1, 2], [3]]), jax.random.key(0))
  [(rows, capacity, train, rng)] = drawn
  assert (rows, capacity, train) == (2, 256, False) and rng is not None


def types(name):
  """Returns shapes and dtypes of the tokens of one call, with a stand-in for the model."""
  config, _, _ = config_lib.load(name)
  _, model = state.build(config)
  key, sampling = jax.random.key(0), dict(temperature=0.5, top_k=3, top_p=0.9)
  start = functools.partial(decoding_lib.prefill, model, capacity=128, slots=128, **sampling)
  go_on = functools.partial(decoding_lib.decode, model, **sampling)

  def tokens():
    params = decoding_lib.unstack_layers(model, transformer.init(model, key))
    decoding = start(params, pad([[1, 2], [3]]), key)
    return go_on(params, decoding, key)[1]

  return jax.eval_shape(tokens)


@pytest.mark.parametrize(
  'name', [pytest.param(name, marks=[pytest.mark.slow] * (name != 'rope')) for name in CONFIGS]
)
def test_tokens_have_their_types_in_64_bits(name, float64):
  assert types(name) == jax.ShapeDtypeStruct((2, decoding_lib.CHUNK), jnp.int32)


@pytest.mark.parametrize(('length', 'bucket'), [(1, 64), (64, 64), (65, 128), (200, 256)])
def test_prompts_are_padded_on_the_left_to_a_bucket(length, bucket):
  prompts = pad([np.arange(length), np.arange(1)])
  assert prompts.tokens.shape == (2, bucket)
  np.testing.assert_array_equal(prompts.padding, [bucket - length, bucket - 1])
  np.testing.assert_array_equal(prompts.tokens[0, bucket - length :], np.arange(length))


def draws(probabilities, count=20_000, **settings):
  logits = jnp.log(jnp.tile(jnp.asarray(probabilities), (count, 1)))
  settings = dict(temperature=1.0, top_k=0, top_p=1.0) | settings
  tokens = decoding_lib.sample(logits, jax.random.key(0), **settings)
  return np.bincount(tokens, minlength=len(probabilities)) / count


P = np.array([0.1, 0.4, 0.2, 0.3])


@pytest.mark.parametrize(
  ('settings', 'expected'),
  [
    ({}, P),
    ({'temperature': 0.5}, P**2 / np.sum(P**2)),
    ({'temperature': 0.0}, [0, 1, 0, 0]),
    ({'top_k': 1}, [0, 1, 0, 0]),
    ({'top_k': 2}, [0, 4 / 7, 0, 3 / 7]),
    ({'top_k': 9}, P),
    ({'top_p': 0.4}, [0, 1, 0, 0]),
    ({'top_p': 0.41}, [0, 4 / 7, 0, 3 / 7]),
    ({'top_p': 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
    ({'top_p': 0.75, 'top_k': 2}, [0, 4 / 7, 0, 3 / 7]),
    ({'top_p': 0.01}, [0, 1, 0, 0]),
    # top-k and top-p each see all tokens: after top-k 2, the first token alone would hold a half.
    ({'top_p': 0.5, 'top_k': 2}, [0, 4 / 7, 0, 3 / 7]),
    # The temperature is applied first: then the likeliest token holds 16 / 30.
    ({'top_p': 0.5, 'temperature': 0.5}, [0, 1, 0, 0]),
    ({'never': (1,)}, [1 / 6, 0, 2 / 6, 3 / 6]),
    ({'never': (1, 3), 'temperature': 0.0}, [0, 0, 1, 0]),
    # top-k and top-p do not see it.
    ({'never': (1,), 'top_k': 2}, [0, 0, 0.4, 0.6]),
    ({'never': (1,), 'top_p': 0.45}, [0, 0, 0, 1]),
    # Too small for a division in float32.
    ({'temperature': 1e-40}, [0, 1, 0, 0]),
    ({'temperature': 1e-38, 'top_p': 0.9}, [0, 1, 0, 0]),
  ],
)
def test_samples_have_the_probabilities_asked_for(settings, expected):
  # 20,000 draws: a standard deviation of 0.0035 at most.
  np.testing.assert_allclose(draws(P, **settings), expected, atol=0.015)


def test_a_low_temperature():
  p = np.array([0.26, 0.25, 0.24, 0.25])
  np.testing.assert_allclose(draws(p, temperature=0.05), p**20 / np.sum(p**20), atol=0.015)


def test_a_token_after_those_that_hold_top_p_is_not_drawn():
  """The first token holds exactly a half."""
  p = [0.5, 0.25, 0.25]
  assert jax.nn.softmax(jnp.log(jnp.asarray(p))).tolist() == p
  np.testing.assert_array_equal(draws(p, top_p=0.5), [1, 0, 0])


def test_tokens_are_drawn_independently():
  """With constant logits: frequencies, and how often two tokens of a row are equal."""
  model, params = make_model('nope', norm=NormSettings('layernorm'), head=HeadSettings(tied=False))
  p = np.array([0.5, 0.3, 0.2])
  logits = jnp.full(data.TEXT, -1e9).at[:3].set(jnp.log(p))
  head_DV = jnp.zeros((16, data.TEXT)).at[0].set(logits)
  norm = {'scale': jnp.zeros(16), 'bias': jnp.zeros(16).at[0].set(1)}
  chunks = decoding_lib.generate(
    model, params | {'norm': norm, 'head_DV': head_DV}, pad([data.encode(b'a')] * 64), tokens=33,
    rng=jax.random.key(0), temperature=1.0, top_k=0, top_p=1.0,
  )
  text = np.concatenate([*chunks], axis=1)
  shares = [text == token for token in range(3)]
  alike = [text[:, : 33 - gap] == text[:, gap:] for gap in (1, 2, 16)]  # a chunk has 16
  for events, expected in zip(shares + alike, [*p, *3 * [p @ p]], strict=True):
    deviation = (expected * (1 - expected) / events.size) ** 0.5
    assert abs(events.mean() - expected) < 5 * deviation


def test_the_document_mark_is_never_generated():
  """A model that almost always predicts BOS still writes bytes."""
  model, params = make_model('nope')
  towards_bos = jnp.zeros_like(params['table_VD']).at[data.BOS].set(10.0)
  params = params | {'table_VD': params['table_VD'] * 0.01 + towards_bos}
  chunks = decoding_lib.generate(
    model, params, pad([data.encode(b'a')]), tokens=30, rng=jax.random.key(0), temperature=1.0,
    top_k=0, top_p=1.0, never=(data.BOS,),
  )
  assert np.concatenate(list(chunks), axis=1).max() < data.BOS


# Prompts from the command line and from standard input.


def load_instead(patch, saved):
  """Makes `generate.run` use these weights on one device; returns the list of its loads."""
  loaded = []
  patch.setattr(state, 'load', lambda *arguments: loaded.append(arguments) or saved)
  setup = lambda config: state.Setup(config, *state.build(config), mesh_of(1, 1, 1))
  patch.setattr(state, 'setup', setup)
  return loaded


@pytest.fixture(scope='module')
def run():
  """Runs `generate.run` on an untrained model; returns printed bytes and generated bytes."""
  config, _, _ = config_lib.load('rope', ['--config.generate.tokens=20'])
  model, params = make_model('rope')
  saved = state.Saved(model, params, step=1, record={})

  def run(prompt=None, stdin=b'', encoding='utf-8'):
    generated = []

    def spy(*arguments, generate=generate.generate, **keywords):
      for tokens in generate(*arguments, **keywords):
        generated.append(data.decode(tokens[0]))
        yield tokens

    out = io.TextIOWrapper(io.BytesIO(), encoding, errors='replace')  # as main.answer sets it
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
      load_instead(patch, saved)
      patch.setattr(generate, 'generate', spy)
      patch.setattr(sys, 'stdin', stdin if stdin is None else io.TextIOWrapper(io.BytesIO(stdin)))
      generate.run(config, 'workdir', checkpoint='newest', prompt=prompt)
    out.flush()
    return out.buffer.getvalue(), b''.join(generated)

  return run


@settings(deadline=None, max_examples=20, derandomize=True, database=None)
@given(text=st.binary(max_size=63), encoding=st.sampled_from(['utf-8', 'ascii', 'latin-1']))
def test_any_prompt_is_continued_and_any_terminal_shows_it(run, text, encoding):
  shown, new = run(os.fsdecode(text), encoding=encoding)  # as Python reads the command line
  assert len(new) == 20
  characters = (text + new).decode('utf-8', 'replace')
  assert shown == f'{characters}\n'.encode(encoding, 'replace')


@given(st.text())
def test_any_text_survives_tokenization(text):
  tokens = data.encode(text.encode('utf-8', 'surrogatepass'))
  assert data.decode(tokens).decode('utf-8', 'surrogatepass') == text


@pytest.mark.parametrize('text', [b'', b'\xff\xfe no UTF-8 \xc3'])
def test_a_prompt_from_standard_input(run, text):
  shown, new = run(stdin=text)
  assert shown == ((text + new).decode('utf-8', 'replace') + '\n').encode()


@pytest.mark.parametrize('source', [
  {'prompt': 'x' * (generate.LONGEST + 1)}, {'stdin': b'x' * 1_000_000},
])
def test_a_prompt_that_is_too_long(run, source):
  with pytest.raises(UserError) as error:
    run(**source)
  assert str(error.value) == (
    'the prompt has more than 65,535 bytes: give the end of it, with `tail -c 65535`'
  )


def test_an_empty_prompt_is_a_prompt(run):
  shown, new = run(prompt='', stdin=b'not read')
  assert shown == (new.decode('utf-8', 'replace') + '\n').encode()


def test_the_longest_prompt():
  assert generate.read('x' * generate.LONGEST) == b'x' * generate.LONGEST


def test_generation_uses_the_settings_of_the_config(monkeypatch, capsys):
  settings = dict(tokens=7, temperature=0.5, top_k=3, top_p=0.25)
  overrides = [f'--config.generate.{key}={value}' for key, value in settings.items()]
  config, _, _ = config_lib.load('rope', ['--config.generate.seed=5', *overrides])
  _, model = state.build(config)
  saved = state.Saved(model, 'params', step=1, record={})
  loaded, asked = load_instead(monkeypatch, saved), []

  def generated(model, params, prompts, *, rng, **sampling):
    prompt = list(prompts.tokens[0, prompts.padding[0] :])
    asked.append((model, params, prompt, int(jax.random.bits(rng)), sampling))
    yield np.array([[98, 99]])

  monkeypatch.setattr(generate, 'generate', generated)
  generate.run(config, 'workdir', checkpoint='best', prompt='a')
  assert capsys.readouterr().out == 'abc\n'
  [(setup, *rest)] = loaded
  assert setup.config is config and rest == ['workdir', 'best']
  number, sampling = int(jax.random.bits(jax.random.key(5))), settings | {'never': (data.BOS,)}
  assert asked == [(model, 'params', [*data.encode(b'a')], number, sampling)]


def test_closed_standard_input(run):
  with pytest.raises(UserError, match='standard input is closed: name the text .* with --prompt'):
    run(stdin=None)


def test_a_prompt_beyond_the_context(monkeypatch):
  config, _, _ = config_lib.load('learned', ['--config.encoding.learned.length=64'])
  _, model = state.build(config)
  saved = state.Saved(model, params=None, step=1, record={})
  load_instead(monkeypatch, saved)
  with pytest.raises(UserError) as error:
    generate.run(config, 'workdir', checkpoint='newest', prompt='x' * 9)
  assert str(error.value) == (
    'the prompt with generate.tokens is 266, and encoding.learned represents 64 positions; train '
    'it with more of them, or lower the prompt with generate.tokens'
  )


# Stops, and several samples.


@pytest.mark.parametrize('text, expected', [
  ('', []), ('a', [b'a']), (r'\n\n,\ndef ', [b'\n\n', b'\ndef ']), (r'\x2c,\\', [b',', b'\\']),
  ('\n', [b'\n']), ('ü,\N{SNOWMAN}', ['ü'.encode(), '\N{SNOWMAN}'.encode()]),
  (os.fsdecode(b'\xff'), [b'\xff']),  # as Python reads a command line that is no UTF-8
])
def test_stops_are_read(text, expected):
  assert generate.stops(text) == expected


@pytest.mark.parametrize('text, said', [
  ('a,', r'generate.stop = a,: a stop is empty; a comma within one is \x2c'),
  (',', r'generate.stop = ,: a stop is empty; a comma within one is \x2c'),
  ('\\x2', r'generate.stop = \x2: truncated \xXX escape; an escape is \n, \t or \x41, a backsl'),
  ('a\\', r'generate.stop = a\: \ at end of string; an escape is \n, \t or \x41, a backslash \\'),
  (r'\ud800', r'generate.stop = \ud800: surrogates not allowed; an escape is'),
])
def test_stops_that_cannot_be_read(text, said):
  with pytest.raises(UserError) as error:
    generate.stops(text)
  assert str(error.value).startswith(said)


def first_complete(text, stops):
  """Returns the text before the stop that completes first, by a search byte by byte."""
  for length in range(len(text) + 1):
    if ended := [stop for stop in stops if text[:length].endswith(stop)]:
      return text[: length - max(map(len, ended))]
  return text


@given(
  pieces=st.lists(st.binary(max_size=3).map(lambda x: bytes(b % 3 for b in x)), max_size=8),
  stops=st.lists(st.sampled_from([b'\0', b'\1\2', b'\2\2\1', b'\0\1\0\1']), max_size=3),
)
def test_a_text_ends_at_its_first_stop_for_any_chunks(pieces, stops):
  assert b''.join(generate.until(pieces, stops)) == first_complete(b''.join(pieces), stops)


def test_a_partial_stop_is_not_shown():
  pieces = generate.until([b'ab', b'c', b'x', b'abcd', b'never read'], [b'abcd'])
  assert [*pieces] == [b'', b'', b'a', b'bcx']


def sampled(monkeypatch, chunks, *overrides):
  """Runs `generate.run` with a stand-in for the model; returns the chunks it read."""
  config, _, _ = config_lib.load('rope', [f'--config.generate.{o}' for o in overrides])
  saved = state.Saved(state.build(config)[1], 'params', step=1, record={})
  read = []

  def generated(model, params, prompts, **settings):
    for chunk in chunks:
      read.append(len(prompts.tokens))
      yield np.array([[*text.encode()] for text in chunk])

  load_instead(monkeypatch, saved)
  monkeypatch.setattr(generate, 'generate', generated)
  generate.run(config, 'workdir', checkpoint='newest', prompt='>')
  return read


def test_samples_are_printed_separately_up_to_their_stops(monkeypatch, capsys):
  chunks = [['a;b', 'c--'], ['def', '-gh'], ['ijk', 'lmn']]
  read = sampled(monkeypatch, chunks, 'samples=2', 'stop=;,---')
  assert read == [2, 2]  # all samples have ended, so generation stops
  said = '--- sample 1 of 2 ---\n>a\n--- sample 2 of 2 ---\n>c\n'
  assert capsys.readouterr().out == said


def test_samples_without_stops(monkeypatch, capsys):
  assert sampled(monkeypatch, [['ab', 'cd'], ['e', 'f']], 'samples=2') == [2, 2]
  said = '--- sample 1 of 2 ---\n>abe\n--- sample 2 of 2 ---\n>cdf\n'
  assert capsys.readouterr().out == said


def test_one_sample_ends_at_its_stop(monkeypatch, capsys):
  read = sampled(monkeypatch, [['abc'], ['def'], ['ghi']], 'stop=de')
  assert read == [1, 1] and capsys.readouterr().out == '>abc\n'


def test_an_invalid_stop_is_reported_before_anything_is_read():
  config, _, _ = config_lib.load('rope', ['--config.generate.stop=a,,b'])
  with pytest.raises(UserError, match='a stop is empty'):
    generate.run(config, 'nowhere', checkpoint='newest', prompt='x')
