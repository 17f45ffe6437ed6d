"""Writes a table as HTML, Markdown, LaTeX or CSV."""

import csv
import html
import io
import re
from collections.abc import Mapping

from posjax.report.tables import Cell, Table
from posjax.sweep.table import escape

LATEX: Mapping[str, str] = {
  **{c: f'\\{c}' for c in '&%$#_{}'}, '\\': r'\textbackslash{}', '~': r'\textasciitilde{}',
  '^': r'\textasciicircum{}', '<': r'\textless{}', '>': r'\textgreater{}', '±': r'$\pm$',
  '\N{ALMOST EQUAL TO}': r'$\approx$', '\N{DAGGER}': r'$\dagger$', '\N{WARNING SIGN}': r'(!)',
}

LONG = 40  # characters of a cell that may break
WIDTH = 0.3  # of the line, for a column with such cells


def text_html(text: str) -> str:
  """Returns escaped text, with links for arXiv ids."""
  return re.sub(
    r'(arXiv[:\s]*)(\d{4}\.\d{4,5})\b', r'\1<a href="https://arxiv.org/abs/\2">\2</a>',
    html.escape(text),
  )


def to_html(table: Table) -> str:
  """Returns a table that scrolls in its own box, with its legend below."""
  head = ''.join(f'<th scope="col">{html.escape(name)}</th>' for name in table.head)
  rows = '\n'.join(f'<tr>{"".join(map(cell_html, row))}</tr>' for row in table.rows)
  legend = ''.join(f'<p class="faint">{text_html(line)}</p>\n' for line in table.legend)
  return (
    f'<h4>{html.escape(table.title)}</h4>\n<div class="wide" tabindex="0"><table>\n'
    f'<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n{legend}'
  )


def cell_html(cell: Cell) -> str:
  kind = f' class="{html.escape(cell.style)}"' if cell.style else ''
  note = f'<small>{html.escape(cell.note)}</small>' if cell.note else ''
  width = ' class="long"' if len(cell.text) > LONG else ''
  return f'<td{kind}><span{width}>{html.escape(cell.text)}</span>{note}</td>'


def to_markdown(table: Table) -> str:
  lines = [f'**{escape(table.title)}**', '']
  lines += [f'| {" | ".join(map(escape, table.head))} |', '| --- ' * len(table.head) + '|']
  lines += [f'| {" | ".join(map(cell_markdown, row))} |' for row in table.rows]
  return '\n'.join([*lines, '', *(f'{escape(line)}\n' for line in table.legend)])


def cell_markdown(cell: Cell) -> str:
  text = escape(cell.text)
  text = f'**{text}**' if cell.style == 'best' and text else text
  return f'{text}<br>{escape(cell.note)}' if cell.note else text


def to_latex(table: Table) -> str:
  """Returns a tabular with the rules of the package booktabs."""
  line = lambda cells: ' & '.join(cells) + r' \\'
  longest = (max(map(len, column)) for column in zip(table.head, *texts(table), strict=True))
  columns = ''.join(rf'p{{{WIDTH}\linewidth}}' if n > LONG else 'l' for n in longest)
  return '\n'.join([
    f'% {" ".join(table.title.split())}', *(f'% {" ".join(x.split())}' for x in table.legend),
    rf'\begin{{tabular}}{{{columns}}}', r'\toprule', line(map(latex, table.head)),
    r'\midrule', *(line(map(cell_latex, row)) for row in table.rows), r'\bottomrule',
    r'\end{tabular}', '',
  ])


def texts(table: Table) -> list[list[str]]:
  return [[cell.text for cell in row] for row in table.rows]


def cell_latex(cell: Cell) -> str:
  text = latex(cell.text)
  text = rf'\textbf{{{text}}}' if cell.style == 'best' and text else text
  return rf'\shortstack[l]{{{text}\\{{\scriptsize {latex(cell.note)}}}}}' if cell.note else text


def latex(text: str) -> str:
  return ''.join(LATEX.get(c, c) if c.isprintable() else ' ' for c in text)


def to_csv(table: Table) -> str:
  """Returns the numbers of a table in full precision."""
  file = io.StringIO()
  writer = csv.DictWriter(file, table.data[0] if table.data else table.head, lineterminator='\n')
  writer.writeheader()
  writer.writerows(table.data)
  return file.getvalue()
