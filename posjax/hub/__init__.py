"""Checkpoints and configs of other libraries."""
