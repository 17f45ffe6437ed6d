"""NoPE: no positional encoding at all.

Haviv et al. 2022, arXiv 2203.16634; Kazemnejad et al. 2023, arXiv 2305.19466 (who named it).

  A_ij = q_i . k_j / sqrt(H)        under a causal mask, which is what tells positions apart
"""

from posjax.encodings.core.encoding import Encoding


class Nope(Encoding):
  """Without a causal mask the tokens are a bag: permuting the keys changes nothing."""

  axes = None
