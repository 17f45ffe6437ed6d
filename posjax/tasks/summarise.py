"""Summarisation: a document, then its summary.

Rush et al. 2015, arXiv 1509.00685. `data.fields` names the fields of the two texts: document,
summary. Only the first tokens of a long document are read.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from posjax.batch import Example
from posjax.data.corpus import Record
from posjax.tasks.core.pairs import ScoredPairs, lay_out


@dataclasses.dataclass(frozen=True)
class Summarise(ScoredPairs):
  longest: int = 80  # most tokens of a summary; documents with longer ones are left out
  library = 'rouge_score'
  roles = dict(document=str, summary=str)
  noun = 'documents'

  def check(self, length: int) -> None:
    super().check(length)
    if not 1 <= self.longest < length - 2:
      raise ValueError(
        f'longest = {self.longest}: must be positive and at most train.length - 3 = {length - 3}'
      )

  def example(self, record: Record, length: int) -> Example | None:
    document, summary = map(self.ids, record)
    # BOS, SEP and any summary, so that the length of a cut document does not reveal its summary's.
    after = 1 if self.form == 'encoder_decoder' else self.longest + 2
    if len(summary) > self.longest:
      return None
    return lay_out(self.form, self.tokenizer, document[: length - after], summary)

  def score(
    self, outputs: Sequence[str], references: Sequence[str], sources: Sequence[str]
  ) -> dict[str, float]:
    """Returns the mean F1 of ROUGE-L (Lin 2004) of English summaries, 0 to 100."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(['rougeL'], use_stemmer=True)
    pairs = zip(references, outputs, strict=True)
    scores = [scorer.score(*pair)['rougeL'].fmeasure for pair in pairs]
    return {'ROUGE-L': 100 * float(np.mean(scores))}
