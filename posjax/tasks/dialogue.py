"""Dialogue: the replies of the second speaker, each given all turns before it.

Positions count on over the dialogue, or restart in each turn, so that a position is a token's place
in its turn, as in the hierarchical positions of He et al. 2024, arXiv 2401.16421, without their
second level. `data.fields` names the field with the list of turns.
"""

import dataclasses

import numpy as np

from posjax.batch import Example
from posjax.data.corpus import Record
from posjax.errors import one_of
from posjax.tasks.core.pairs import TextPairs

POSITIONS = ('running', 'turn')


@dataclasses.dataclass(frozen=True)
class Dialogue(TextPairs):
  positions: str = 'running'  # 0, 1, … over the dialogue; or 'turn': restarts at 0 in each turn
  forms = ('decoder',)
  may_differ = ('positions',)
  roles = dict(turns=tuple)
  noun = 'dialogues'

  @property
  def counts(self) -> bool:  # type: ignore[override]
    return self.positions == 'running'

  def check(self, length: int) -> None:
    super().check(length)
    if self.positions not in POSITIONS:
      raise ValueError(f'positions = {self.positions}: {one_of(self.positions, POSITIONS)}')

  def example(self, record: Record, length: int) -> Example | None:
    """Returns the exchanges of a dialogue that fit into `length` tokens; None if none does.

    The layout is [BOS, turn, SEP, reply, EOS, turn, SEP, reply, EOS, …]. Of the positions in a
    turn, 0 is the special token before it.
    """
    ends = self.tokenizer.sep, self.tokenizer.eos
    turns = [np.append(self.ids(turn), ends[i % 2]) for i, turn in enumerate(record[0])]
    sizes = np.array([len(turn) for turn in turns])
    kept = np.searchsorted(np.cumsum(sizes), length, side='right') // 2 * 2
    if not kept:
      return None
    sizes = sizes[:kept]
    row = np.concatenate([[self.tokenizer.bos], *turns[:kept]]).astype(np.int32)
    learned = np.repeat(np.arange(kept) % 2 == 1, sizes)
    places = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    return Example(row[:-1], row[1:], learned, None if self.counts else places[:, None])

  def prompt_positions(self, tokens: np.ndarray) -> np.ndarray | None:
    """The last token of a prompt is the special token before the reply."""
    places = np.append(np.arange(len(tokens) - 1, dtype=np.int32), np.int32(0))
    return None if self.counts else places[:, None]
