"""Tables of claims: the summary of all experiments, and the verdicts of one."""

from collections.abc import Mapping, Sequence

from posjax.report.read import Sweep
from posjax.report.tables import Cell, Table, duration, number, span
from posjax.sweep.verdict import Verdict

NOT_JUDGED = 'not judged'


def summary(sweeps: Sequence[Sweep], rankings: Mapping[str, Sequence[tuple[str, str]]]) -> Table:
  """Returns the first table of a page.

  Args:
    sweeps: the page's sweeps.
    rankings: {name: [(where, best arms)]} of the sweeps without claims.
  """
  rows, data = [], []
  for sweep in sweeps:
    m, seconds = sweep.manifest, sweep.seconds()
    judged = sweep.verdicts or unjudged(sweep) or [
      Verdict(text, '', where) for where, text in rankings.get(sweep.name, [])
    ] or [Verdict(m['claim'], '', 'no run is done')]
    overall = f'overall: {m["outcome"]}' if m['outcome'] and len(judged) > 1 else ''
    of_all = Cell(sweep.subject, overall), Cell(duration(seconds)), Cell(m['tier'])
    for i, each in enumerate(judged):
      paper, took, tier = [Cell('')] * 3 if i else of_all
      claim = Cell(each.claim, each.reason)
      numbers = map(Cell, (number(each.value), span(each), probability(each)))
      rows.append((paper, outcome(each), claim, *numbers, took, tier))
      data.append({
        'experiment': m['experiment'], 'paper': sweep.subject, 'claim': each.claim,
        'outcome': each.outcome, 'value': each.value, 'low': each.low, 'high': each.high,
        'p_holm': each.p_holm, 'seconds': round(seconds), 'tier': m['tier'],
      })
  head = 'paper', 'outcome', 'claim', 'value', '95 % interval', 'p', 'time', 'tier'
  legend = [
    'p is corrected for the number of all claims on this page (Holm). Time: of all runs of an '
    'experiment; experiments that share runs each count them.'
  ]
  return Table('summary', 'Results', head, rows, legend, data)


def unjudged(sweep: Sweep) -> list[Verdict]:
  """Returns the claims of a sweep whose tier judges none, without a value."""
  reason = 'this tier shows only that everything runs'
  return [
    Verdict(claim['text'], claim['criterion'], NOT_JUDGED, reason=reason, paper=claim['paper'])
    for claim in sweep.manifest['claims']
  ]


def outcome(judged: Verdict) -> Cell:
  return Cell(judged.outcome, style=judged.outcome.replace(' ', '-'))


def probability(judged: Verdict) -> str:
  return '' if judged.p_holm is None else f'{judged.p_holm:.2g}'


def claims(sweep: Sweep) -> Table:
  """Returns the claims of a sweep with their verdicts; without verdicts, the criteria."""
  judged = sweep.verdicts or unjudged(sweep)
  rows = [
    (
      outcome(each)._replace(note=each.reason), Cell(each.claim), Cell(each.criterion),
      Cell(number(each.value)), Cell(span(each)), Cell(probability(each)),
      Cell(', '.join(map(number, each.seeds))), Cell(each.paper),
    ) for each in judged
  ]
  head = 'outcome', 'claim', 'criterion', 'value', '95 % interval', 'p', 'by seed', 'the paper'
  data = [
    {
      'claim': v.claim, 'criterion': v.criterion, 'outcome': v.outcome, 'value': v.value,
      'low': v.low, 'high': v.high, 'p': v.p, 'p_holm': v.p_holm,
      'seeds': ' '.join(map(repr, v.seeds)), 'reason': v.reason, 'paper': v.paper,
    } for v in judged
  ]
  return Table(f'{sweep.name}-claims', 'Claims', head, rows, data=data)


def facts(judged: Verdict) -> list[tuple[str, str]]:
  """Returns [(label, text)] of what is known about a claim."""
  seeds = ', '.join(map(number, judged.seeds))
  p = '' if judged.p is None else f'{judged.p:.2g}; {probability(judged)} corrected for all claims'
  told = [
    ('value', f'{number(judged.value)} {span(judged)}'.strip()), ('criterion', judged.criterion),
    ('p', p), ('by seed', seeds), ('the paper', judged.paper), ('reason', judged.reason),
  ]
  return [(label, text) for label, text in told if text]
