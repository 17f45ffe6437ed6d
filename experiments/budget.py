"""Training budget: does an encoding that extrapolates keep doing so when it is trained longer?

Ten encodings, four budgets of up to 2,000 steps, three seeds, the text and the model of
experiments/extrapolation.py. Lin et al. 2025 (FoX), arXiv 2503.02130, report that more training
tokens make extrapolation worse; others rarely report it. Learning rates are those that
experiments/extrapolation.py chose at 1,000 steps, fixed here for all budgets.

No claim: the question is whose curves cross. The loss beyond the trained length rises with the
budget if the difference of the means at 2,000 and 250 steps is positive with its interval.
"""
