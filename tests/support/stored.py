"""The numbers of public libraries in tests/golden, and what the running test has taken of them."""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / 'golden'
# By file: tests.support.differences finds here which numbers a comparison is with.
taken = {}


def golden(name):
  """All arrays of one file."""
  with np.load(FOLDER / f'{name}.npz') as file:
    taken[name] = {key: file[key] for key in file.files}
  return dict(taken[name])


def derived(name, key, array):
  """What follows from arrays of a file that cannot be compared as they are; returns it."""
  taken[name][key] = array
  return array
