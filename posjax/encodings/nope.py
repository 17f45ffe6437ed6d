"""NoPE: no positional encoding at all.

Haviv et al. 2022, arXiv 2203.16634; Kazemnejad et al. 2023, arXiv 2305.19466 (who named it).

  A_ij = q_i . k_j / sqrt(H)        only the causal mask distinguishes positions
"""

from posjax.encodings.core.encoding import Encoding


class Nope(Encoding):
  """No encoding; without a causal mask, permuting the keys changes nothing."""

  axes = None
  encoder_order = 'nothing'
