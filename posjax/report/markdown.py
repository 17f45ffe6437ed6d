"""The Markdown twin of the page, with the same tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from posjax.report.formats import to_markdown
from posjax.report.sections import Section
from posjax.report.tables import Table
from posjax.sweep.table import escape


def render(
  sections: Sequence[Section], summary: Table, made_with: Sequence[str], folder: Path
) -> str:
  """Returns the text; its figures are files below `folder`."""
  lines = ['# Results of experiments', '', to_markdown(summary)]
  for each in sections:
    lines += section(each, folder)
  return '\n'.join([*lines, *(f'{escape(line)}\n' for line in made_with)])


def section(each: Section, folder: Path) -> Iterator[str]:
  m = each.sweep.manifest
  yield f'## {escape(m["claim"])}\n'
  if m['outcome']:
    yield f'**{m["outcome"]}**\n'
  yield from (f'**{escape(where)}**: {escape(arms)}\n' for where, arms in each.best)
  for paragraph in m['text'].strip().partition('\n')[2].strip().split('\n\n'):
    yield f'{escape(" ".join(paragraph.split()))}\n'
  yield from (f'{escape(line)}\n' for line in (each.age, each.missing) if line)
  yield from map(to_markdown, each.first)
  for measure in each.measures:
    for drawing in measure.drawings:
      path = drawing.path.relative_to(folder).as_posix()
      yield f'![{escape(drawing.title)}]({path})\n'
    yield to_markdown(measure.table)
  yield from map(to_markdown, each.setup)
  yield f'```bash\n{each.commands[0]}\n```\n'
