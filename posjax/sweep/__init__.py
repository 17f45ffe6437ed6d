"""Experiments: every arm with every seed, and one table."""
