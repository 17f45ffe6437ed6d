"""posjax: positional encodings in Transformers, implemented once and compared fairly."""
