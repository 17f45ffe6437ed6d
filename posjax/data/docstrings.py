"""The docstrings of Python's standard library: records of a document and its summary.

The summary is the first line of a docstring, if a blank line follows; the document is the rest, of
at least 20 words. A pair that occurs twice is kept once. Nothing is downloaded. The records depend
on the version of Python, which is part of their name.
"""

import ast
import platform
from collections.abc import Iterator, Mapping

from posjax.data.corpus import Record, Records, check_splits
from posjax.data.packages import selection
from posjax.data.records import in_splits
from posjax.errors import UserError, one_of

FIELDS = ('document', 'summary')
WORDS = 20  # of the shortest document
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def load_records(name: str, expressions: Mapping[str, str], fields: tuple[str, ...]) -> Records:
  """Opens the docstrings of the running Python.

  Raises:
    UserError: `name` is not 'docstrings', this Python has no source files, or a field or split does
      not exist.
  """
  from posjax.data.python_source import library  # slow to import

  if name != 'docstrings':
    raise UserError(f'corpus python:{name}: {one_of(name, ["docstrings"], "the name")}')
  name = f'python:docstrings ({platform.python_version()})'
  check_splits(name, expressions)
  select = selection(name, FIELDS, fields)
  sources = (path.read_bytes() for path in library().values())
  pairs = dict.fromkeys(pair for source in sources for pair in summaries(source))
  return in_splits(name, fields, [select(pair) for pair in pairs], expressions)


def summaries(source: bytes) -> Iterator[Record]:
  """Yields (document, summary) for the docstrings of a module that have both."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, DOCUMENTED) and (docstring := ast.get_docstring(node)):
      summary, blank, document = docstring.partition('\n\n')
      if blank and '\n' not in summary and len(document.split()) >= WORDS:
        yield document.strip(), summary
