"""Loads public libraries' numbers from tests/golden and records which ones a test has read."""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / 'golden'
# Arrays by file; tests.support.differences looks up here which numbers a test compares with.
taken = {}


def golden(name):
  """Returns all arrays of one file."""
  with np.load(FOLDER / f'{name}.npz') as file:
    taken[name] = {key: file[key] for key in file.files}
  return dict(taken[name])


def derived(name, key, array):
  """Records numbers derived from arrays that cannot be compared directly; returns them."""
  taken[name][key] = array
  return array
