"""The gallery: one HTML page with all text and pictures; it opens without a server."""

import base64
import html
import io
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PIL import Image

from posjax.show import picture, words
from posjax.show.grid import Shown

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --faint: #66727f; --paper: #fff; --line: #d9dee4;
  --mark: #c2410c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --faint: #9aa5b1; --paper: #15191e; --line: #323a43; --mark: #fb923c; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
a { color: inherit; }
h1 { margin: 1rem 0 0; }
h2 { margin: 3rem 0 0; font-size: 1.1rem; color: var(--mark); }
h3 { margin: 0; font-size: 1.3rem; }
p { margin: 0.4rem 0; }
.faint, dt { color: var(--faint); }
input { width: 100%; padding: 0.6rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: 0.4rem; }
nav dl { margin: 1rem 0; }
nav dd { margin: 0 0 0.6rem; }
nav a { margin-right: 0.8rem; white-space: nowrap; }
article { margin: 1.5rem 0; padding-top: 1.5rem; border-top: 1px solid var(--line); }
code, pre { font: 0.85rem/1.45 ui-monospace, monospace; }
pre, .wide { overflow-x: auto; }
code { overflow-wrap: anywhere; }
img { display: block; width: 100%; min-width: 40rem; margin: 0.8rem 0; border-radius: 0.4rem; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; margin: 0;
  font-size: 0.9rem; }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { dl.facts { grid-template-columns: 1fr; gap: 0; }
  dl.facts dd { margin-bottom: 0.5rem; } }
summary { cursor: pointer; color: var(--faint); }
[hidden] { display: none; }
"""

SCRIPT = """
const box = document.querySelector('input');
box.addEventListener('input', () => {
  const wanted = box.value.toLowerCase().split(/\\s+/);
  const fits = (x) => wanted.every((word) => x.dataset.words.includes(word));
  for (const x of document.querySelectorAll('[data-words]')) x.hidden = !fits(x);
  for (const x of document.querySelectorAll('section, nav div')) {
    x.hidden = !x.querySelector('[data-words]:not([hidden])');
  }
});
"""


class Entry(NamedTuple):
  """One encoding or config of the gallery."""

  name: str
  family: str
  search: str  # the text that the filter searches
  html: str


def entry(name: str, command: str, layers: Sequence[Shown]) -> Entry:
  """Returns the `Entry` for `name`, from the facts of its distinct layers."""
  papers = [*dict.fromkeys(paper for facts in layers for paper in words.papers(facts))]
  told = [name, *map(' '.join, papers), *(words.traits(facts.encoding) for facts in layers)]
  text = '\n'.join([
    f'<h3>{html.escape(name)}</h3>', *map(paper, papers), *map(layer, layers),
    f'<p class="faint"><code>{html.escape(command)}</code></p>',
  ])
  return Entry(name, words.family(layers[0]), html.escape(' '.join(told).lower()), text)


def paper(told: words.Paper) -> str:
  equation = f'<pre>{html.escape(told.equation)}</pre>' if told.equation else ''
  citation = f'<p class="faint">{html.escape(told.citation)}</p>' if told.citation else ''
  return f'<p>{html.escape(told.summary)}</p>{citation}{equation}'


def layer(facts: Shown) -> str:
  title = html.escape(words.title(facts))
  rows = ''.join(
    f'<dt>{html.escape(label)}</dt><dd>{html.escape(text)}</dd>'
    for label, text in words.lines(facts)
  )
  return (
    f'<p><code>{title}</code></p>\n<div class="wide"><img alt="{title}: {words.drawn(facts)}" '
    f'src="data:image/png;base64,{image(facts)}"></div>\n'
    f'<dl class="facts">{rows}</dl>\n'
    f'<details><summary>numbers</summary><pre>{html.escape(words.numbers(facts))}</pre></details>'
  )


def image(facts: Shown) -> str:
  """Returns the picture in base64, as a PNG of 256 colors, a third of the full size."""
  drawn, small = io.BytesIO(), io.BytesIO()
  picture.draw([facts], drawn, with_words=False, dpi=110)
  Image.open(drawn).convert('RGB').quantize(256).save(small, 'PNG', optimize=True)
  return base64.b64encode(small.getvalue()).decode()


def render(entries: Sequence[Entry], failed: dict[str, str], made_with: Iterable[str]) -> str:
  """Returns the page as HTML.

  Args:
    entries: the `Entry`s of the gallery.
    failed: {name: message} of encodings that could not be shown.
    made_with: lines with the command, the date and the versions.
  """
  by_family = lambda entry: entry.family
  order = sorted(entries, key=lambda entry: (entry.family, entry.name))
  families = {name: [*group] for name, group in itertools.groupby(order, by_family)}
  return '\n'.join([
    '<!doctype html>', '<html lang="en">', '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<title>posjax: positional encodings</title>', f'<style>{STYLE}</style>',
    '<h1>Positional encodings</h1>',
    *(f'<p class="faint">{html.escape(line)}</p>' for line in (*made_with, legend())),
    *(f'<p>{html.escape(f"{name}: {message}")}</p>' for name, message in failed.items()),
    '<p><input type="search" placeholder="name, author, year, trait …" aria-label="filter"></p>',
    '<nav><dl>', *itertools.starmap(index, families.items()), '</dl></nav>',
    *itertools.starmap(section, families.items()), f'<script>{SCRIPT}</script>', '</html>', '',
  ])


def legend() -> str:
  return (
    'Every picture is of a text of equal tokens, which differ only in their positions. Left: the '
    'bias or the logit of the last token for each earlier token, by distance, in a text of the '
    'trained length and in one four times as long. Right: all pairs of the trained length, and the '
    'wavelengths if there are any. The tables list the numbers at the line ends and at the dots. '
    'Encodings that read several axes of positions are on a grid of equal tokens: the bias or the '
    'logit of one token, marked by a ring, for all tokens. Gray: not seen.'
  )


def index(family: str, entries: Iterable[Entry]) -> str:
  links = ' '.join(
    f'<a href="#{html.escape(e.name)}" data-words="{e.search}">{html.escape(e.name)}</a>'
    for e in entries
  )
  return f'<div><dt>{html.escape(family)}</dt><dd>{links}</dd></div>'


def section(family: str, entries: Iterable[Entry]) -> str:
  articles = [
    f'<article id="{html.escape(e.name)}" data-words="{e.search}">\n{e.html}</article>'
    for e in entries
  ]
  return '\n'.join([f'<section><h2>{html.escape(family)}</h2>', *articles, '</section>'])
