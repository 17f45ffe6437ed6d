"""Stack manipulation: the contents of a stack after pushes and pops.

A deterministic context-free language of Delétang et al. 2023, arXiv 2207.02098; see
core/chomsky.py. The question is a stack of bits, bottom first, and actions: p pops, o pushes 0, i
pushes 1; to pop an empty stack does nothing. The first stack has 1 to size - 1 bits, uniformly, and
each action is uniform. The answer is the final stack, top first. One token is a stack without an
action. A guess reaches 1/2 in a decoder; in an encoder, where the place of the terminator must be
guessed, 0.486 at 41 tokens, more in very short and in longer strings.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import Terminated


@dataclasses.dataclass(frozen=True)
class StackManipulation(Terminated):
  def problem(self, rng: np.random.Generator, size: int) -> tuple[str, str]:
    depth = int(rng.integers(1, size)) if size > 1 else 1
    bits = ''.join('01'[bit] for bit in rng.integers(2, size=depth).tolist())
    actions = ''.join('poi'[action] for action in rng.integers(3, size=size - depth).tolist())
    stack = list(bits)
    for action in actions:
      if action == 'p':
        del stack[-1:]
      else:
        stack.append('0' if action == 'o' else '1')
    return bits + actions, ''.join(reversed(stack))

  def guess(self, size: int) -> float:
    """Returns the accuracy of the likeliest token of each slot, exactly.

    All bits of the final stack are uniform, whatever its depth.
    """
    if self.form != 'encoder':
      return 0.5
    ends_D = depths(size)
    deeper_D = 1 - np.cumsum(ends_D)
    return float(np.sum(np.maximum(ends_D, deeper_D / 2)) / np.sum(ends_D + deeper_D))


def depths(size: int) -> np.ndarray:
  """Returns the probability of each depth of the final stack, 0 to size."""
  if size == 1:
    return np.array([0.0, 1.0])
  share_D = np.zeros(size + 1)
  for depth in range(1, size):
    share_D[depth] += 1 / (size - 1)
    popped_D = np.append(share_D[1:], 0.0)
    popped_D[0] += share_D[0]
    share_D = popped_D / 3 + np.append(0.0, share_D[:-1]) * 2 / 3
  return share_D
