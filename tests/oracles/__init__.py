"""Positional encodings by scalar loops in float64: slow, and written apart from the library."""
