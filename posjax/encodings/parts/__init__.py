"""Code that several encodings share: rotations, distances, buckets, counts."""
