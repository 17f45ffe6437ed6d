"""Masked language modeling: predicts covered tokens from the tokens on both sides.

Devlin et al. 2018 (BERT), arXiv 1810.04805, section 3.1, without next sentence prediction. The
covered tokens of a training text differ in every epoch (Liu et al. 2019, arXiv 1907.11692). Those
of held-out text are fixed, and are the same at every length: rows of the longest length are
covered, then cut.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax import data
from posjax.batch import Batch, Example, Stream
from posjax.data import chunks
from posjax.data.corruption import cover, word_units
from posjax.data.pipeline import Drawn
from posjax.tasks.core.generated import identity
from posjax.tasks.core.task import Data, Task, Test


@dataclasses.dataclass(frozen=True)
class Masked(Task):
  share: float = 0.15  # share of the tokens, or of the words, to cover
  words: bool = False  # cover whole words: runs of letters and digits
  tokens: int = 131_072  # held-out tokens to cover a share of, the same at each length
  validation_tokens: int = 32_768  # the same for validation, with each checkpoint
  forms = ('encoder',)
  best = 'nats/token'
  shown = ('nats/token', 'token accuracy')
  evaluation = ('tokens', 'validation_tokens')

  def check(self, length: int) -> None:
    if not 0 < self.share < 1:
      raise ValueError(f'share = {self.share}: must be in (0, 1)')
    if self.words and self.tokenizer.lengths is None:
      raise ValueError('words = True: the ids of data.tokenizer must stand for bytes')
    for name in self.evaluation:
      if getattr(self, name) < 1:
        raise ValueError(f'{name} = {getattr(self, name)}: must be positive')

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    loaded, longest = data.load(**corpus), math.lcm(*lengths)
    validation = self.rows(loaded, 'validation', 'validation_tokens', length)
    rows = self.rows(loaded, 'test', 'tokens', longest)
    asked = rows.targets[rows.weights]
    guess = float(np.bincount(asked).max() / len(asked))
    own = f'{loaded.sha256} {identity(self)["sha256"]}'
    return Data(
      name=str(loaded), sha256=hashlib.sha256(own.encode()).hexdigest(), split=loaded.splits[0],
      train=Drawn(chunks.train(loaded, self.tokenizer, length), self.draw),
      validation=validation,
      tests={'masked': Test(
        f'the same {len(asked):,} covered tokens at each length, {self.share:.0%} of the '
        f'{"words" if self.words else "tokens"}; the guess is the most frequent of them',
        {n: jax.tree.map(lambda x, n=n: x.reshape(-1, n), rows) for n in lengths},
        dict.fromkeys(lengths, {'token accuracy': guess}),
      )},
    )

  def draw(self, ids: np.ndarray, rng: np.random.Generator) -> Example:
    """Returns a text with randomly covered tokens, which alone have a loss."""
    units = word_units(ids, self.tokenizer) if self.words else np.arange(len(ids))
    x, covered = cover(rng, ids, units, share=self.share, tokenizer=self.tokenizer)
    return Example(x, ids, covered)

  def rows(self, corpus: data.Corpus, split: str, key: str, length: int) -> Batch:
    """Returns held-out rows of `length` tokens, each covered by a generator of its own.

    The argument `key` is the number of tokens.
    """
    texts = chunks.held_out(
      corpus, split, self.tokenizer, tokens=getattr(self, key), excerpt=length,
      key=f'task.masked.{key}',
    )
    rows = [
      self.draw(ids, np.random.default_rng((0, row)))
      for row, ids in enumerate(chunks.cut(texts, length))
    ]
    x, targets, weights, *_ = map(np.stack, list(zip(*rows, strict=True))[:3])
    return Batch(Stream(x), targets, weights)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    right_BT = jnp.argmax(outputs, axis=-1) == batch.targets
    return {
      'nats/token': (self.loss(outputs, batch), batch.weights),
      'token accuracy': (right_BT, batch.weights),
    }
