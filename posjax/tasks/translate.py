"""Translation: a text in one language, then in another.

Sutskever et al. 2014, arXiv 1409.3215, with two networks; Vaswani et al. 2017, arXiv 1706.03762,
with attention. `data.fields` names the fields of the two texts: source, target.
"""

import dataclasses
from collections.abc import Sequence

from posjax.errors import one_of
from posjax.tasks.core.pairs import ScoredPairs

WORDS = ('13a', 'intl', 'zh', 'char', 'none')


@dataclasses.dataclass(frozen=True)
class Translate(ScoredPairs):
  words: str = '13a'  # how BLEU splits texts into words, a name of sacrebleu's; Chinese: zh
  evaluation = ('rows', 'words', 'texts')
  library = 'sacrebleu'

  def check(self, length: int) -> None:
    super().check(length)
    if self.words not in WORDS:
      raise ValueError(f'words = {self.words}: {one_of(self.words, WORDS)}')

  def score(
    self, outputs: Sequence[str], references: Sequence[str], sources: Sequence[str]
  ) -> dict[str, float]:
    """Returns BLEU (Papineni et al. 2002) and chrF (Popović 2015) of translations, 0 to 100."""
    import sacrebleu

    return {
      'BLEU': sacrebleu.corpus_bleu(outputs, [references], tokenize=self.words).score,
      'chrF': sacrebleu.corpus_chrf(outputs, [references]).score,
    }
