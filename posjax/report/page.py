"""The page: one HTML file that loads nothing and needs no script."""

import html
from collections.abc import Iterator, Sequence

from posjax.report import claims, formats
from posjax.report.figures import COLORS
from posjax.report.formats import text_html
from posjax.report.sections import Measure, Section
from posjax.report.tables import Table
from posjax.sweep.verdict import Verdict

SIGNS = {
  'reproduced': '\N{CHECK MARK}', 'direction only': '\N{NORTH EAST ARROW}',
  'contradicted': '\N{MULTIPLICATION X}', 'inconclusive': '?', claims.NOT_JUDGED: '\N{EN DASH}',
}
# (light, dark) of each outcome; its word and its sign say the same.
OUTCOMES = {
  'reproduced': COLORS['s0'], 'direction-only': COLORS['s4'], 'contradicted': COLORS['s1'],
  'inconclusive': COLORS['faint'], 'not-judged': COLORS['faint'],
}
VARIABLES = {**COLORS, **OUTCOMES}
STYLE = f"""
:root {{ color-scheme: light dark;
  {' '.join(f'--{name}: {light};' for name, (light, _) in VARIABLES.items())} }}
@media (prefers-color-scheme: dark) {{ :root {{
  {' '.join(f'--{name}: {dark};' for name, (_, dark) in VARIABLES.items())} }} }}
""" + """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
a { color: inherit; }
h1 { margin: 1rem 0 0; line-height: 1.2; }
h2 { margin: 0; font-size: 1.35rem; line-height: 1.3; }
h3 { margin: 2rem 0 0.3rem; font-size: 1.1rem; }
h4 { margin: 1.2rem 0 0.3rem; font-size: 0.95rem; }
p { margin: 0.4rem 0; }
small { display: block; font-size: 0.78rem; white-space: nowrap; }
.faint { color: var(--faint); font-size: 0.85rem; max-width: 60rem; }
section { margin-top: 3rem; padding-top: 1.5rem; border-top: 2px solid var(--line); }
.wide { width: fit-content; max-width: 100%; overflow-x: auto; border: 1px solid var(--line);
  border-radius: 0.4rem; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
th, td { padding: 0.3rem 0.6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--paper); }
td { white-space: nowrap; }
td:first-child > span { display: inline-block; max-width: 14rem; white-space: normal; }
@media (max-width: 40rem) { td:first-child > span { max-width: 7rem; } }
td span.long { display: inline-block; white-space: normal; min-width: 15rem; max-width: 34rem; }
td small { color: var(--faint); }
span.long + small { white-space: normal; min-width: 15rem; max-width: 34rem; }
td.noise small { font-style: italic; }
td.noise > span { color: var(--faint); }
td.best > span { font-weight: 700; }
.reproduced { color: var(--reproduced); } .direction-only { color: var(--direction-only); }
.contradicted { color: var(--contradicted); } .inconclusive { color: var(--inconclusive); }
.not-judged { color: var(--not-judged); }
td.reproduced, td.direction-only, td.contradicted, td.inconclusive, .word, .overall {
  font-weight: 700; }
.overall { margin: 0.6rem 0; font-size: 1.6rem; line-height: 1.2; }
.claim { margin: 1rem 0; padding: 0.1rem 0 0.1rem 0.9rem; border-left: 0.3rem solid currentColor; }
.claim > * { color: var(--ink); font-weight: 400; }
.claim > .word { font-size: 1.15rem; font-weight: 700; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem; margin: 0.3rem 0;
  font-size: 0.9rem; }
dt { color: var(--faint); } dd { margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr));
  gap: 1rem; margin: 0.8rem 0; }
svg { display: block; width: 100%; height: auto; stroke-linejoin: round; stroke-linecap: butt; }
svg.scale { max-width: 30rem; }
.scale line { stroke: var(--faint); }
.scale text { fill: var(--faint); font-size: 11px; text-anchor: middle; }
pre { white-space: pre-wrap; font: 0.85rem/1.45 ui-monospace, monospace; }
summary { cursor: pointer; color: var(--faint); }
"""


def render(sections: Sequence[Section], summary: Table, made_with: Sequence[str]) -> str:
  """Returns the page; `made_with` are the lines with the command and the versions."""
  subjects = ', '.join(dict.fromkeys(each.sweep.subject for each in sections))
  links = ' · '.join(
    f'<a href="#{html.escape(each.sweep.name)}">{html.escape(each.sweep.name)}</a>'
    for each in sections
  )
  return '\n'.join([
    '<!doctype html>', '<html lang="en">', '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    f'<title>posjax: {html.escape(subjects)}</title>', f'<style>{STYLE}</style>',
    '<h1>Results of experiments</h1>', formats.to_html(summary), f'<nav>{links}</nav>',
    *(line for each in sections for line in section(each)),
    '<section>', *(f'<p class="faint">{html.escape(line)}</p>' for line in made_with),
    '</section>', '</html>', '',
  ])


def section(each: Section) -> Iterator[str]:
  """Yields the HTML of a sweep."""
  sweep, m = each.sweep, each.sweep.manifest
  _, _, docstring = m['text'].strip().partition('\n')
  yield f'<section id="{html.escape(sweep.name)}">\n<h2>{html.escape(m["claim"])}</h2>'
  if m['claims']:
    yield f'<p class="overall">{word(m["outcome"] or claims.NOT_JUDGED)}</p>'
  for where, arms in each.best:
    yield f'<p><b>{html.escape(where)}</b>: {html.escape(arms)}</p>'
  for paragraph in docstring.strip().split('\n\n'):
    yield f'<p>{text_html(" ".join(paragraph.split()))}</p>'
  yield f'<p class="faint">{html.escape(each.age)}</p>'
  if each.missing:
    yield f'<p class="faint">{html.escape(each.missing)}</p>'
  if m['claims']:
    yield from map(claim, sweep.verdicts or claims.unjudged(sweep))
  else:
    boxes = ''.join(f'<div>{formats.to_html(table)}</div>\n' for table in each.first)
    yield f'<div class="figures">\n{boxes}</div>'
  yield from map(measure, each.measures)
  yield from map(formats.to_html, each.setup)
  command, *runs = map(html.escape, each.commands)
  yield f'<h4>Commands</h4>\n<pre>{command}</pre>\n<details><summary>{len(runs)} runs</summary>'
  yield f'<pre>{chr(10).join(runs)}</pre></details>\n</section>'


def word(outcome: str) -> str:
  """Returns an outcome in its color, with a sign."""
  return f'<span class="{outcome.replace(" ", "-")}">{SIGNS[outcome]} {outcome}</span>'


def claim(verdict: Verdict) -> str:
  """Returns a claim with its verdict."""
  rows = (f'<dt>{label}</dt><dd>{text_html(text)}</dd>' for label, text in claims.facts(verdict))
  return (
    f'<div class="claim {verdict.outcome.replace(" ", "-")}">\n'
    f'<p class="word">{word(verdict.outcome)}</p>\n<p>{html.escape(verdict.claim)}</p>\n'
    f'{scale(verdict)}<dl>{"".join(rows)}</dl>\n</div>'
  )


def scale(verdict: Verdict) -> str:
  """Returns a drawing of an interval, with 0 and the bound of the criterion; '' without one."""
  value, low, high = verdict.value, verdict.low, verdict.high
  if value is None or low is None or high is None or low == high:
    return ''
  bound, color = float(verdict.criterion[1:]), f'var(--{verdict.outcome.replace(" ", "-")})'
  first, last = min(0, bound, low), max(0, bound, high)
  at = lambda value: f'{24 + 432 * (value - first) / (last - first):.1f}'
  lines = ''.join(
    f'<line x1="{at(x)}" x2="{at(x)}" y1="2" y2="20" stroke-dasharray="{dashes}"/>'
    f'<text x="{at(x)}" y="33">{html.escape(text)}</text>'
    for x, dashes, text in ((0, '2 2', '0' * bool(bound)), (bound, 'none', verdict.criterion))
  )
  return (
    '<svg class="scale" viewBox="0 0 480 36" role="img" aria-label="the interval, 0, and the '
    f'criterion">{lines}<line x1="{at(low)}" x2="{at(high)}" y1="11" y2="11" '
    f'style="stroke: {color}; stroke-width: 3"/>'
    f'<circle cx="{at(value)}" cy="11" r="5" style="fill: {color}"/></svg>\n'
  )


def measure(each: Measure) -> str:
  drawn = ''.join(f'<div>{drawing.inline}</div>\n' for drawing in each.drawings)
  return f'<div class="figures">\n{drawn}</div>\n{formats.to_html(each.table)}'
