"""Denoising: predicts a text, or its missing parts, from a corrupted source.

kind      source                                target
spans     the text, a MASK for each span        the spans, each after a MASK
bart      the text, a MASK for each span        the entire text
prefix    the first part, of random length      the rest

Spans: Raffel et al. 2020 (T5), arXiv 1910.10683, section 3.1.4. All its sentinels are one token,
MASK: the k-th MASK of the target stands for the k-th of the source, and a longer text than in
training, which has more spans, needs no sentinel that was never trained. BART's text infilling:
Lewis et al. 2019, arXiv 1910.13461, section 2.2. Prefix: Liu et al. 2018, arXiv 1801.10198; with
form 'decoder' a source token sees no later source tokens: a causal prefix.

A training text is corrupted differently in every epoch; held-out texts always in the same way.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posjax import data
from posjax.batch import Batch, Example, padded
from posjax.data import chunks
from posjax.data.corruption import fill_lengths, place, replace_spans, span_counts, span_lengths
from posjax.data.pipeline import Drawn
from posjax.errors import one_of
from posjax.tasks.core.generated import identity
from posjax.tasks.core.pairs import Pairs, lay_out
from posjax.tasks.core.task import Data, Test

KINDS = ('spans', 'prefix', 'bart')


@dataclasses.dataclass(frozen=True)
class Denoise(Pairs):
  kind: str = 'spans'  # 'spans' as T5; 'prefix', the rest of a text; 'bart', a text with gaps
  tokens: int = 131_072  # held-out tokens to corrupt, at each length
  validation_tokens: int = 32_768  # held-out tokens to corrupt, with each checkpoint
  shown = ('nats/token', 'token accuracy')
  evaluation = ('tokens', 'validation_tokens')

  @property
  def never(self) -> tuple[int, ...]:  # type: ignore[override]
    """All tokens that no target has."""
    marks = (self.tokenizer.mask,) if self.kind == 'spans' else ()
    return tuple(token for token in super().never if token not in marks)

  def check(self, length: int) -> None:
    if self.kind not in KINDS:
      raise ValueError(f'kind = {self.kind}: {one_of(self.kind, KINDS)}')
    for name in self.evaluation:
      if getattr(self, name) < 1:
        raise ValueError(f'{name} = {getattr(self, name)}: must be positive')
    if self.room(1) > length:
      raise ValueError(f'train.length = {length}: must be at least {self.room(1)}')

  def room(self, size: int) -> int:
    """Returns the most tokens of a row, or of its source, for a text of `size` tokens."""
    if self.form == 'encoder_decoder':
      return size + 1  # the source with EOS, or BOS and the target: neither exceeds the text
    return size + 2 + {'spans': 2 * span_counts(size)[1], 'prefix': 0, 'bart': size}[self.kind]

  def largest(self, length: int) -> int:
    """Returns the size of the largest text that fits into `length` tokens."""
    return max(size for size in range(1, length) if self.room(size) <= length)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    loaded, size = data.load(**corpus), self.largest(length)
    read = lambda split, key, size: chunks.held_out(
      loaded, split, self.tokenizer, tokens=getattr(self, key), excerpt=size,
      key=f'task.denoise.{key}',
    )
    texts = read('test', 'tokens', self.largest(max(lengths)))
    own = f'{loaded.sha256} {identity(self)["sha256"]}'
    return Data(
      name=str(loaded), sha256=hashlib.sha256(own.encode()).hexdigest(), split=loaded.splits[0],
      train=Drawn(chunks.train(loaded, self.tokenizer, size), self.draw),
      validation=self.rows(read('validation', 'validation_tokens', size), length),
      tests={'denoise': Test(
        f'{self.kind}: held-out text, cut at each length into the longest parts that fit',
        {n: self.rows(texts, n) for n in lengths},
      )},
    )

  def draw(self, ids: np.ndarray, rng: np.random.Generator) -> Example:
    """Returns the example of a text, corrupted at random."""
    return lay_out(self.form, self.tokenizer, *corrupt(self.kind, ids, rng, self.tokenizer.mask))

  def rows(self, texts: list[np.ndarray], length: int) -> Batch:
    """Returns a row of `length` tokens for each part of the texts; each has its own generator."""
    parts = chunks.cut(texts, self.largest(length))
    examples = [self.draw(ids, np.random.default_rng((0, row))) for row, ids in enumerate(parts)]
    return padded(examples, length, length)


def corrupt(
  kind: str, ids: np.ndarray, rng: np.random.Generator, mask: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns source and target of a text, of one of the KINDS."""
  if kind == 'prefix':
    cut = rng.integers(len(ids))
    return ids[:cut], ids[cut:]
  lengths = (span_lengths if kind == 'spans' else fill_lengths)(rng, len(ids))
  source, spans = replace_spans(ids, *place(rng, lengths, len(ids)), mask)
  return source, spans if kind == 'spans' else ids
