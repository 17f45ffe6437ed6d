"""What trained heads do with positions: maps, distances, frequencies, counting, induction.

Five measures of runs trained on text, at the trained length, on held-out rows. Criteria for 'yes',
written before the first run:

  maps       a picture: attention of every head to one text. No criterion.
  distance   the mean weight of keys at each distance, over the queries of the second half of a row.
             "Positions make heads local": the weight on the 8 nearest keys, mean over all heads, is
             at least twice that of the run without positions (nope).
  planes     the share of each RoPE frequency in |q_c| |k_c|, a bound on its part of q . k, where c
             is a plane (Barbero et al. 2024, arXiv 2410.06205, section 3, who find that Gemma
             7B uses its slow planes most). "Slow planes carry most": the slower half has more than
             half of the sum in most heads.
  counting   ridge regression of the position from the residual stream, R^2 on rows that were not
             fitted (Kazemnejad et al. 2023, arXiv 2305.19466: NoPE can count by the causal mask).
             "It knows where it is": R^2 is at least 0.5 after some layer, and below 0.1 before.
  induction  a random string twice: the weight on the token after the earlier occurrence of a token
             (Olsson et al. 2022, arXiv 2209.11895). "It has an induction head": a head has
             at least 0.2; uniform attention has about 0.02.

  python -m experiments.promises.interpretability --run=runs/rope --run=runs/nope --out=show
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.promises import trained
from experiments.promises.captured import Seen, capture
from posjax.encodings import parts_of
from posjax.encodings.core.arrays import per_head
from posjax.encodings.parts.rotation import planes
from posjax.encodings.rope import Rope
from posjax.runtime import program

ROWS, RIDGE, NEAR = 256, 1.0, 8
PRINTABLE = np.arange(33, 127)  # bytes of the random strings


def by_distance(p_BNTT: np.ndarray) -> np.ndarray:
  """Returns the mean weight of keys at distances 0 to T/2 - 1, [N, T/2].

  The queries are those of the second half of a row, which all have keys at these distances.
  """
  T = p_BNTT.shape[-1]
  queries = np.arange(T // 2, T)[:, None]
  return p_BNTT[:, :, queries, queries - np.arange(T // 2)].mean(axis=(0, 2))


def plane_shares(q_BTNH: np.ndarray, k_BTKH: np.ndarray, number: int, layout: str) -> np.ndarray:
  """Returns the share of each plane in the mean of |q_c| |k_c|, [N, planes], fastest first.

  A rotation changes no norm, so queries and keys may be rotated or not.
  """
  heads = q_BTNH.shape[2]

  def norms(x):
    a, b = planes(per_head(x, heads), number, layout)
    return np.sqrt(np.square(a) + np.square(b)).mean(axis=(0, 1))

  bound = norms(q_BTNH) * norms(k_BTKH)
  return bound / bound.sum(axis=-1, keepdims=True)


def r_squared(x_BTD: np.ndarray, y_BT: np.ndarray) -> float:
  """Returns R^2 of a ridge regression of y, fitted to the first half of the rows, on the rest."""
  x_BTD = np.asarray(x_BTD, np.float64)
  half = len(x_BTD) // 2
  flat = lambda x: x.reshape(-1, x.shape[-1])
  mean, scale = flat(x_BTD[:half]).mean(axis=0), flat(x_BTD[:half]).std(axis=0) + 1e-9
  fit, held_out = ((flat(x) - mean) / scale for x in (x_BTD[:half], x_BTD[half:]))
  y, true = y_BT[:half].ravel(), y_BT[half:].ravel()
  w = np.linalg.solve(fit.T @ fit + RIDGE * np.eye(fit.shape[1]), fit.T @ (y - y.mean()))
  residual = true - y.mean() - held_out @ w
  return 1 - float(np.sum(residual**2) / np.sum((true - true.mean()) ** 2))


def repeated(rows: int, length: int, seed: int = 0) -> np.ndarray:
  """Returns random strings twice, [rows, length]; no byte occurs twice in a string.

  `length` is even, and at most twice the number of printable bytes.
  """
  rng = np.random.default_rng(seed)
  half = np.stack([rng.permutation(PRINTABLE)[: length // 2] for _ in range(rows)])
  return np.concatenate([half, half], axis=1).astype(np.int32)


def induction(p_BNTT: np.ndarray) -> np.ndarray:
  """Returns the mean weight on the token after the earlier occurrence, [N], for `repeated` rows."""
  n = p_BNTT.shape[-1] // 2
  copy = np.arange(n)
  return p_BNTT[:, :, n + copy, copy + 1].mean(axis=(0, 2))


class Measured(NamedTuple):
  """A run: its name, one text, weights p [N, T, T] on it, and by distance [N, T/2], by layer."""

  name: str
  text: str
  maps: list[np.ndarray]
  distances: list[np.ndarray]


def measure(run: trained.Trained) -> Measured:
  """Prints the measures of a run."""
  setup, length = run.setup, run.setup.config.train.length
  rows = setup.open().tests['non-overlapping'].rows[length].stream.x
  rows = rows[np.linspace(0, len(rows) - 1, ROWS).astype(int)]
  seen = capture(setup.model, run.params, rows)
  again = capture(setup.model, run.params, repeated(64, length - length % 2))
  print(f'\n{run.name}, step {run.step}')
  distances = [by_distance(np.asarray(layer.p)) for layer in seen.layers]
  show(f'weight on the {NEAR} nearest keys', [own[:, :NEAR].sum(axis=1) for own in distances])
  show('induction', [induction(np.asarray(layer.p)) for layer in again.layers])
  pos = np.broadcast_to(np.arange(length, dtype=np.float64), rows.shape)
  found = [r_squared(x, pos) for x in (seen.embedded, *(layer.x for layer in seen.layers))]
  told = '  '.join(f'{r:.3f}' for r in found)
  print(f'R^2 of the position: embeddings, then after each layer  {told}')
  print_planes(run, seen)
  text = setup.task.decode(rows[0]).decode('utf-8', 'replace')
  return Measured(run.name, text, [np.asarray(own.p[0]) for own in seen.layers], distances)


def show(title: str, by_layer: Sequence[np.ndarray]) -> None:
  """Prints one number for each head, layer by layer, and their mean."""
  layers = '; '.join(' '.join(f'{x:.3f}' for x in own) for own in by_layer)
  print(f'{title}, by head; layer  {layers}  mean {np.mean(by_layer):.3f}', flush=True)


def print_planes(run: trained.Trained, seen: Seen) -> None:
  """Prints the shares of the frequencies of each layer that rotates its queries and keys."""
  pattern = run.setup.model.pattern
  names = [own.encoding for own in pattern.layers()] * run.setup.model.groups
  for i, (name, layer) in enumerate(zip(names, seen.layers, strict=True)):
    for rope in (part for part in parts_of(pattern.by_name[name]) if isinstance(part, Rope)):
      theta = rope.scaled().theta
      share = plane_shares(np.asarray(layer.q), np.asarray(layer.k), len(theta), rope.layout)
      slow = share[:, len(theta) // 2 :].sum(axis=1)
      waves = ' '.join(f'{wave:.3g}' for wave in 2 * np.pi / theta)
      print(f'layer {i}: share of planes with wavelengths {waves}')
      for n, own in enumerate(share):
        print(f'  head {n}  ' + ' '.join(f'{x:.2f}' for x in own) + f'  slower half {slow[n]:.2f}')


def numbered(by_layer: Sequence[np.ndarray]) -> Iterator[tuple[int, int, np.ndarray]]:
  """Yields (layer, head, its values)."""
  for layer, heads in enumerate(by_layer):
    for head, own in enumerate(heads):
      yield layer, head, own


def draw(measured: Sequence[Measured], out: Path) -> list[Path]:
  """Draws the maps and the weights by distance of all runs; returns the paths of the pictures."""
  from matplotlib.figure import Figure

  heading = 'root of the weight of each key (across) for each query (down), in the text:'
  out.mkdir(parents=True, exist_ok=True)
  columns = max(sum(map(len, run.maps)) for run in measured)
  figure = lambda *inches: Figure(figsize=inches, layout='constrained')
  maps = figure(1.3 * columns, 1.5 * len(measured) + 0.3)
  curves = figure(3.2 * len(measured), 2.6)
  maps.suptitle(f'{heading} {measured[0].text!r}', size=8)
  grid = maps.subplots(len(measured), columns, squeeze=False)
  for run, row in zip(measured, grid, strict=True):
    row[0].set_ylabel(run.name)
    for ax, (layer, head, p) in zip(row, numbered(run.maps), strict=False):
      ax.imshow(p**0.5, vmin=0, vmax=1, cmap='viridis')  # the root shows small weights
      ax.set_title(f'layer {layer}, head {head}', size=8)
  for ax in grid.flat:
    ax.set(xticks=[], yticks=[])
  axes = curves.subplots(1, len(measured), sharey=True, squeeze=False)[0]
  for run, ax in zip(measured, axes, strict=True):
    for layer, head, p in numbered(run.distances):
      ax.plot(p, color=f'C{layer}', linewidth=0.9, label='' if head else f'layer {layer}')
    ax.set(yscale='log', ylim=(1e-4, 1), title=run.name, xlabel='distance')
  axes[0].set_ylabel('mean weight of a key')
  axes[0].legend(frameon=False)
  paths = [out / 'attention.png', out / 'distance.png']
  for drawn, path in zip((maps, curves), paths, strict=True):
    drawn.savefig(path, dpi=60)
  return paths


def main(argv: list[str]) -> int:
  parser = trained.parser('interpretability', __doc__)
  parser.add_argument(
    '--out', type=program.folder('--out'), default=Path('show'), help='folder for the pictures'
  )
  options = parser.parse_args(argv)
  measured = [measure(trained.load(folder)) for folder in options.run]
  for path in draw(measured, options.out):
    print(f'picture: {path}')
  return 0


if __name__ == '__main__':
  sys.exit(program.run_program(lambda: main(sys.argv[1:])))
