"""Reads a tokenizer.json with the package `tokenizers`.

The file's own special tokens are neither added nor found in text: posjax adds its own, and text
that happens to spell one of them is text.

A byte-level file gives ids that stand for bytes: it splits any text, valid UTF-8 or not, into
strings of bytes, each with an id, and drops and changes none. That does not hold for a file that
normalizes text (lower case, Unicode forms), or marks spaces (SentencePiece) or words (WordPiece).
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tokenizers
from tokenizers.pre_tokenizers import ByteLevel

from posjax.data.tokenizer import SPECIAL, Tokenizer
from posjax.errors import UserError, one_line

SPACE = '▁'  # of SentencePiece


def parse(name: str, content: bytes) -> Tokenizer:
  """Returns the tokenizer of a file. Raises UserError if `content` is no tokenizer.json."""
  try:
    file = tokenizers.Tokenizer.from_str(content.decode())
  except Exception as error:  # tokenizers raises no narrower class
    raise UserError(f'data.tokenizer = {name}: no tokenizer.json ({one_line(error)})') from error
  file.no_truncation()
  file.no_padding()
  file.encode_special_tokens = True  # as other text
  spec = json.loads(file.to_str())  # with all keys
  exact = is_byte_level(file, spec)
  strings = byte_strings(file, spec, of_bytes if exact else lambda token: of_word(token, spec))
  lengths = np.array([*map(len, strings), *[0] * len(SPECIAL)], np.int32)
  never = tuple(i for i, string in enumerate(strings) if not string)
  return Tokenizer(
    name=name,
    size=len(strings),
    sha256=hashlib.sha256(content).hexdigest(),
    encode=encoder(file, exact),
    decode=lambda ids: b''.join(strings[i] for i in np.asarray(ids) if i < len(strings)),
    lengths=lengths if exact else None,
    never=never,
  )


def is_byte_level(file: tokenizers.Tokenizer, spec: Mapping[str, Any]) -> bool:
  """Returns whether the ids of a text stand for exactly the bytes of the text."""
  model, before = spec['model'], spec['pre_tokenizer'] or {}
  steps = before.get('pretokenizers', [before])
  kept = {'ByteLevel': 'add_prefix_space', 'Digits': '', 'Split': ''}  # they drop no text
  return (
    any(step.get('type') == 'ByteLevel' for step in steps)
    and all(
      step['type'] in kept and not step.get(kept[step['type']])
      and step.get('behavior') != 'Removed' for step in steps
    )
    and spec['normalizer'] is None
    and model['type'] in ('BPE', 'Unigram')
    and not any(model.get(key) for key in ('continuing_subword_prefix', 'end_of_word_suffix'))
    and not any(token['lstrip'] or token['rstrip'] for token in spec['added_tokens'])
    and all(file.token_to_id(letter) is not None for letter in ByteLevel.alphabet())
  )


def byte_strings(
  file: tokenizers.Tokenizer, spec: Mapping[str, Any], convert: Callable[[str], bytes]
) -> list[bytes]:
  """Returns the bytes of each id; b'' for special tokens, unknown text and ids without a token."""
  vocabulary, model = file.get_vocab(), spec['model']
  strings = [b''] * (1 + max(vocabulary.values()))
  added = {token['content']: token['special'] for token in spec['added_tokens']}
  unknown = model.get('unk_id', vocabulary.get(model.get('unk_token')))
  for token, i in vocabulary.items():
    if token not in added and i != unknown:
      strings[i] = convert(token)
    elif not added.get(token, True):
      strings[i] = token.encode()
  return strings


def letters() -> dict[str, int]:
  """Returns {letter: byte} of byte-level tokens, which spell each byte as one printable letter.

  Printable bytes of Latin-1 are themselves; the others are U+0100, U+0101, … in order.
  """
  alphabet = {*ByteLevel.alphabet()}
  others = iter(range(256, 512))
  return {chr(b) if chr(b) in alphabet else chr(next(others)): b for b in range(256)}


LETTERS = letters()


def of_bytes(token: str) -> bytes:
  """Returns the bytes that a byte-level token spells; b'' if it spells none."""
  return bytes(LETTERS[letter] for letter in token) if LETTERS.keys() >= {*token} else b''


def of_word(token: str, spec: Mapping[str, Any]) -> bytes:
  """Returns the text of a token of SentencePiece, WordPiece or of words, with the space before it.

  The first word of a text thus gets a space.
  """
  if byte := re.fullmatch(r'<0x([0-9A-F]{2})>', token):  # SentencePiece: rare characters
    return bytes.fromhex(byte[1])
  model = spec['model']
  if model['type'] == 'WordPiece' and token.startswith(model['continuing_subword_prefix']):
    token = token.removeprefix(model['continuing_subword_prefix'])
  elif model['type'] in ('WordPiece', 'WordLevel'):
    token = f' {token}'
  if suffix := model.get('end_of_word_suffix'):
    token = token.replace(suffix, ' ')
  return token.replace(SPACE, ' ').encode()


def encoder(file: tokenizers.Tokenizer, exact: bool) -> Callable[[bytes], np.ndarray]:
  """Returns a function from bytes to ids. Unless `exact`, invalid UTF-8 becomes U+FFFD."""
  ids_of = lambda text: file.encode(text, add_special_tokens=False).ids
  if not exact:
    return lambda text: np.array(ids_of(text.decode('utf-8', 'replace')), np.int32)
  id_of = {byte: file.token_to_id(letter) for letter, byte in LETTERS.items()}

  def encode(text: bytes) -> np.ndarray:
    found: list[int] = []
    # Python decodes an invalid byte as U+DC00 plus its value, which tokenizers do not accept.
    for part in re.split('([\udc80-\udcff]+)', text.decode('utf-8', 'surrogateescape')):
      if '\udc80' <= part[:1] <= '\udcff':
        found += [id_of[ord(invalid) - 0xDC00] for invalid in part]
      elif part:
        found += ids_of(part)
    return np.array(found, np.int32)

  return encode
