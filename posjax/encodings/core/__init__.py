"""The base of all encodings: the interface, its declarations, chains, and the registry."""
