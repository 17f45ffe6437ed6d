"""Measures the speed of the encodings, compared with public programs of the same shapes.

subjects.py   the subjects of a command line, and their FLOPs
__main__.py   the command line and the rounds
processes.py  starts a process for each subject; on request it runs and returns seconds
worker.py     the code of that process; it imports one of
  ours.py     posjax     peers.py, nanogpt.py  PyTorch     plain.py  hand-written JAX
targets.py    the target ratios
tables.py     medians, ratios, verdicts, Markdown and JSON     picture.py  time and memory by length
"""
