"""What several encodings share: rotations, distances, buckets, counts."""
