"""Zstandard, by the package zstandard (`pip install -e '.[zstd]'`)."""

import zstandard

CHUNK = 2**16  # what follows a frame is copied, so that a whole file would be, for each frame


def decompress(content: bytes) -> bytes:
  """The text of all frames; the package's own function reads one, and it must state its size.

  Raises:
    zstandard.ZstdError: it is damaged.
    EOFError: it is truncated.
  """
  texts, frame = [], zstandard.ZstdDecompressor().decompressobj()
  for start in range(0, len(content), CHUNK):
    rest = content[start : start + CHUNK]
    while rest:
      if frame.eof:
        frame = zstandard.ZstdDecompressor().decompressobj()
      texts.append(frame.decompress(rest))
      rest = frame.unused_data
  if not frame.eof:
    raise EOFError('it ends within a frame')
  return b''.join(texts)
