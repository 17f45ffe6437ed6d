"""The files of a report: what is escaped, that the page loads nothing, and mistakes."""

import collections
import csv
import html.parser
import json
import math
import re
import shutil

import pytest

from posjax.errors import UserError
from posjax.report import __main__ as report
from posjax.report import figures, formats, numbers, read, tables
from posjax.report import page as page_lib
from posjax.sweep.verdict import Verdict
from tests.report import fabricate
from tests.report.fabricate import VALUES, load, of


class Page(html.parser.HTMLParser):
  """Collects the tags, the references and the ids of a page."""

  def __init__(self):
    super().__init__()
    self.tags, self.references, self.ids = set(), [], collections.Counter()

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    own = dict(attrs)
    self.references += [own[k] for k in ('src', 'href', 'xlink:href', 'srcset') if k in own]
    self.ids.update([own['id']] if 'id' in own else [])


def test_the_page_loads_nothing_and_runs_nothing(page):
  text = (page / 'index.html').read_text()
  found = Page()
  found.feed(text)
  assert not found.tags & {'script', 'link', 'img', 'iframe', 'object', 'image', 'i', 'b2'}
  links = [r for r in found.references if not r.startswith('#')]
  assert {*links} == {f'https://arxiv.org/abs/{n}' for n in ('2108.12409', '1706.03762')}
  assert {r[1:] for r in found.references if r[0] == '#'} <= {*found.ids}
  assert max(found.ids.values()) == 1
  assert '@import' not in text and not re.search(r'url\((?!#)', text)
  # Colors of figures are variables, with values for light and dark.
  body = text.partition('</style>')[2]
  assert not re.search('|'.join(figures.LIGHT.values()), body)
  assert {*re.findall(r'var\(--([\w-]+)\)', text)} <= {*re.findall(r'--([\w-]+):', text)}


def test_hostile_names_are_escaped(page):
  text = (page / 'index.html').read_text()
  assert '<img' not in text and '<script' not in text
  # In two figures and two tables.
  assert text.count('&lt;img src=http://x onerror=y&gt;$|&amp;') == 4
  assert '&lt;script&gt;alert(1)&lt;/script&gt;|' in text
  assert '<h2>A &lt;i&gt; &amp; B: is it so?</h2>' in text
  markdown = (page / 'report.md').read_text()
  assert '<img' not in markdown and '<script' not in markdown
  head = markdown.index('| paper |')
  table = markdown[head : markdown.index('\n\n', head)].splitlines()
  assert {len(re.findall(r'(?<!\\)\|', line)) for line in table} == {9}


def test_latex_is_escaped():
  cell = tables.Cell('a_b & 5 % of $x$ {~^\\}', '≈ <1', 'best')
  text = formats.to_latex(tables.Table('n', 'a\n\\end', ['x#'], [[cell]]))
  assert text.splitlines()[0] == r'% a \end'
  inner = r'a\_b \& 5 \% of \$x\$ \{\textasciitilde{}\textasciicircum{}\textbackslash{}\}'
  note = r'{\scriptsize $\approx$ \textless{}1}'
  assert rf'\shortstack[l]{{\textbf{{{inner}}}\\{note}}} \\' in text
  assert r'x\# \\' in text and text.count('rule') == 3


def test_csv_files_have_the_numbers_in_full_precision(page, topic):
  with (page / 'tables' / 'topic-non-overlapping-bits_byte.csv').open(newline='') as file:
    rows = [*csv.DictReader(file)]
  mine = {(row['arm'], int(row['length'])): row for row in rows}
  assert [*map(float, mine['rope', 64]['values'].split())] == VALUES['rope'][64]
  assert float(mine['rope', 64]['mean']) == pytest.approx(1.1, abs=1e-15)
  assert mine['learned', 128]['mean'] == '' and mine['learned', 128]['seeds'] == '0'
  with (page / 'tables' / 'topic-claims.csv').open(newline='') as file:
    judged = [*csv.DictReader(file)]
  for row, verdict in zip(judged, load(topic)[0].verdicts, strict=True):
    assert row['claim'] == verdict.claim
    assert [*map(float, row['seeds'].split())] == [*verdict.seeds]
    assert float(row['low']) == verdict.low


def test_markdown_and_page_have_the_same_tables(page):
  names = {path.stem for path in (page / 'tables').iterdir()}
  assert len(names) == 1 + 4 + 4  # the summary; claims, measure, rates, costs; two rankings
  markdown, text = ((page / name).read_text() for name in ('report.md', 'index.html'))
  for title in re.findall(r'<h4>(.*?)</h4>', text):
    assert title == 'Commands' or f'**{title}**' in markdown
  for path in re.findall(r'!\[.*?\]\((.*?)\)', markdown):
    assert (page / path).is_file() and (page / path).with_suffix('.pdf').is_file()
  assert text.count('<svg viewBox') == 4


def test_equal_results_make_equal_figures(accuracy, tmp_path):
  found = of(accuracy, 'reads right')
  look = figures.looks(found.sweep.arms)
  files = []
  for _ in range(2):
    figures.by_length(found, look, tmp_path / 'a.svg')
    files.append([(tmp_path / name).read_bytes() for name in ('a.svg', 'a.pdf')])
  assert files[0] == files[1]
  svg = files[0][0].decode()
  for label in ('best 0.80 (1.00)', 'unlearned 0.30 (0.50)', 'a guess 0.25'):
    assert f'>{label}</text>' in svg


def test_positions_are_averaged_in_parts(topic):
  (sweep,) = load(topic)
  sweep.done[0][1]['by_position'][fabricate.TEST]['bits/byte'] = [None, 1.0, 2.0, 4.0, None, None]
  first = next(numbers.positions(sweep, 'rope', fabricate.TEST, 'bits/byte', 3))
  assert first[:2] == [1.0, 3.0] and math.isnan(first[2])


def test_a_sweep_is_found_after_it_was_moved(topic, tmp_path):
  alone = shutil.copytree(topic, tmp_path / 'renamed')
  assert read.locate(alone, topic / 'rope-10') == alone / 'rope-10'
  assert {run.folder.parent for run, _ in load(alone)[0].done} == {alone}
  pool = shutil.copytree(topic, tmp_path / 'pool')
  own = tmp_path / 'own'
  own.mkdir()
  assert read.locate(own, topic.with_name('pool') / 'rope-10') == pool / 'rope-10'


def test_names_differ(tmp_path):
  folders = [tmp_path / 'a' / 'x', tmp_path / 'b' / 'x', tmp_path / 'c' / 'x-2', tmp_path / '<y>']
  assert [*read.names(folders)] == ['x', 'x-2', 'x-2-2', '_y_']


@pytest.mark.parametrize(
  ('text', 'message'), [
    (None, 'no manifest.json; python -m posjax.sweep EXPERIMENT writes one'),
    ('{', 'not a manifest; run python -m posjax.sweep EXPERIMENT again'),
    ('[]', 'written by another version of posjax, it has no experiment; run'),
    ('{"experiment": ""}', 'written by another version of posjax, it has no claim; run'),
  ],
)
def test_a_folder_without_a_usable_manifest_is_one_line(text, message, tmp_path, capsys):
  if text is not None:
    (tmp_path / 'manifest.json').write_text(text)
  assert report.main([str(tmp_path)]) == 2
  error = capsys.readouterr().err
  assert error.count('\n') == 1 and error.startswith('posjax: ') and message in error
  assert not (tmp_path / 'report').exists()


def test_other_verdicts_and_lost_runs_are_one_line(topic, tmp_path):
  copy = shutil.copytree(topic, tmp_path / 'copy')
  manifest = json.loads((topic / 'manifest.json').read_text())
  del manifest['verdicts'][0]['p_holm']
  (copy / 'manifest.json').write_text(json.dumps(manifest))
  with pytest.raises(UserError, match='another version of posjax, its verdicts have other fields'):
    load(copy)
  with pytest.raises(UserError, match='gone/rope-1, a finished run, has no evaluation.json'):
    read.locate(copy, tmp_path / 'gone' / 'rope-1')


def test_the_interval_of_a_claim_is_drawn_with_0_and_the_bound():
  verdict = Verdict('c', '> 0.5', 'reproduced', value=1.0, low=0.75, high=2.0)
  drawn = page_lib.scale(verdict)
  at = lambda value: f'"{24 + 432 * value / 2:.1f}"'
  for value in (0, 0.5, 0.75, 1.0, 2.0):
    assert at(value) in drawn
  assert page_lib.scale(Verdict('c', '> 0', 'reproduced', 1.0, 1.0, 1.0)) == ''
