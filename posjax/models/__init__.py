"""Models: the Transformer, its layers, and how encodings are tiled over their depth."""
