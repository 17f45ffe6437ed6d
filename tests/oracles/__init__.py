"""Positional encodings by scalar loops in float64: slow, and independent of posjax."""
