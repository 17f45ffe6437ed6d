"""Texts that a model generates for test examples, and their scores, such as BLEU."""

from typing import Any

import jax
from ml_collections import ConfigDict

from posjax.beam import beam_search
from posjax.decoding import pad
from posjax.tasks import Data, Task

ROWS = 64  # texts that are generated together


def score(
  config: ConfigDict, task: Task, model: Any, params: Any, data: Data
) -> tuple[str, dict[str, float]]:
  """Generates a text for each of `task.scored_texts` test examples by beam search, and scores them.

  Args:
    config: the resolved config; `generate` has the number of beams and the length penalty.
    task: gives requests, ends a text with EOS, and computes the scores.
    model: a model of `posjax.models`.
    params: its weights.
    data: the examples of the task.

  Returns:
    A line that describes the texts, and {metric: value}.
  """
  requests = task.requests(data, task.scored_texts)
  beams, length = config.generate.beams, config.train.length
  outputs = []
  for start in range(0, len(requests), ROWS):
    some = requests[start : start + ROWS]
    prompts, sources, pos = ([getattr(r, key) for r in some] for key in ('prompt', 'source', 'pos'))
    after: list[Any] = [own if own is None else task.position_after(own) for own in pos]
    padded = pad(prompts, *(own if own[0] is not None else None for own in (sources, pos, after)))
    found, _ = beam_search(
      model, params, padded, tokens=length, beams=beams, penalty=config.generate.length_penalty,
      end=task.tokenizer.eos, never=task.never, rng=jax.random.key(config.seed),
    )
    outputs += [task.answer(tokens) for tokens in found]
  how = 'greedily' if beams == 1 else f'with {beams} beams'
  title = f'generated {how}: {len(requests):,} texts of at most {length:,} tokens'
  references, texts = ([getattr(r, key) for r in requests] for key in ('reference', 'text'))
  return title, task.score(outputs, references, texts)
