"""The colors of figures, for all readers."""

import itertools

import numpy as np
import pytest

from posjax.report import figures

# Machado, Oliveira and Fernandes 2009, severity 1, for linear RGB.
SIGHTS = {
  'trichromacy': np.eye(3),
  'protanopia': [
    [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  'deuteranopia': [
    [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  'tritanopia': [
    [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
}
XYZ = np.array([
  [0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505],
])


def linear(color):
  """Returns linear RGB of an sRGB color such as #ffffff."""
  values = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
  return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
  """Returns CIE L*a*b* of linear RGB."""
  ratios = XYZ @ np.clip(rgb, 0, 1) / (0.9505, 1, 1.089)
  x, y, z = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
  return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize('theme', [0, 1], ids=['light', 'dark'])
def test_colors_have_contrast_and_differ_for_color_blind_readers(theme):
  luminance = {name: XYZ[1] @ linear(own[theme]) for name, own in figures.COLORS.items()}
  for name in {*luminance} - {'paper', 'line'}:
    dark, light = sorted((luminance[name], luminance['paper']))
    assert (light + 0.05) / (dark + 0.05) > 4.5, name  # WCAG 2, level AA
  for sight in SIGHTS.values():
    seen = [lab(np.array(sight) @ linear(figures.COLORS[f's{i}'][theme])) for i in range(6)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15
