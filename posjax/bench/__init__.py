"""How fast the encodings are, next to public programs of the same shapes.

subjects.py   what a command line measures, the shapes, their FLOPs
__main__.py   the command line and the rounds
processes.py  a subject's process, seen from here: told to take a turn, it answers with seconds
worker.py     the same process from within; it imports one of
  ours.py     posjax     peers.py, nanogpt.py  PyTorch     plain.py  JAX as one writes it by hand
targets.py    what the ratios ought to be
tables.py     medians, ratios, verdicts, Markdown and JSON     picture.py  time and memory by length
"""
