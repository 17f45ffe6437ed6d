"""Zstandard decompression, with the package zstandard (`pip install -e '.[zstd]'`)."""

import zstandard

CHUNK = 2**16  # bytes after a frame are copied: without chunks, the rest of the file once per frame


def decompress(content: bytes) -> bytes:
  """Returns the text of all frames; the package's own function reads one frame, of stated size.

  Raises:
    zstandard.ZstdError: the content is corrupt.
    EOFError: the content is truncated.
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
    raise EOFError('the file ends within a frame')
  return b''.join(texts)
