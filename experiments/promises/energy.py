"""Quality per FLOP of trained runs, and per joule where the energy can be measured.

The FLOPs of a run are its model FLOPs (posjax/plan.py, Chowdhery et al. 2022, arXiv 2204.02311,
appendix B) times its steps; evaluations are not counted. Quality is how many of the 8 bits of a
byte the model saves, 8 - bits/byte, at the trained length and at the longest. With codecarbon
installed, training steps on empty rows are run for half a minute and measured; the energy of a run
is that of a step times its steps. Without a meter in the processor, codecarbon estimates its power
from a table of processors and the load of this process: a rough figure, best on an idle machine.

No criterion: an account, not a claim. The model FLOPs do not count the work of an encoding, so
encodings differ here by quality alone, and in joules by their time too.

  python -m experiments.promises.energy --run=runs/rope --run=runs/nope
"""

import json
import sys
import time

import jax
import jax.numpy as jnp

from experiments.promises import trained
from posjax import plan, state, train_step
from posjax.errors import UserError
from posjax.runtime import program
from posjax.sweep.table import by_length

TERA, KWH = 1e12, 3.6e6  # FLOPs, joules
SECONDS, CHUNK = 30, 20  # of measurement; steps between two looks at the clock


def saved_per(bits: float, amount: float) -> float:
  """Returns the bits that a model saves of each byte, for each unit of `amount`."""
  return (8 - bits) / amount


def joules_per_step(setup: state.Setup) -> float | None:
  """Returns the energy of a training step as codecarbon tells it; None if it is not installed."""
  try:
    from codecarbon import OfflineEmissionsTracker
  except ImportError:
    return None
  with jax.set_mesh(setup.mesh):
    step = train_step.make_step(setup)
    empty = lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding)
    batch = jax.tree.map(empty, train_step.example(setup))
    batch = batch.replace(weights=jnp.ones_like(batch.weights))
    own, _ = step(jax.jit(state.first(setup.config, setup.model))(), batch)  # compiles
    # The country only sets the carbon of a kWh, which is not used.
    tracker = OfflineEmissionsTracker(
      country_iso_code='FRA', save_to_file=False, log_level='error', measure_power_secs=1,
      tracking_mode='process',
    )
    tracker.start()
    steps, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
      for _ in range(CHUNK):
        own, _ = step(own, batch)
      jax.block_until_ready(own)
      steps += CHUNK
    tracker.stop()
  return KWH * tracker.final_emissions_data.energy_consumed / steps


def main(argv: list[str]) -> int:
  print('run  TFLOPs  bits/byte by length  bits saved per TFLOP, at the first and the last length')
  for run in trained.parse('energy', __doc__, argv):
    path = run.folder / 'evaluation.json'
    if not path.exists():
      raise UserError(f'{path}: no such file; finish the run first')
    tera = run.step * plan.flops_per_step(run.setup.config, run.setup.model, run.params) / TERA
    records = by_length(json.loads(path.read_text()), 'non-overlapping', 'bits/byte')
    bits = {n: own['value'] for n, own in records.items() if own['value'] is not None}
    per = [saved_per(bits[n], tera) for n in (min(bits), max(bits))]
    told = ', '.join(f'{n}: {value:.3f}' for n, value in bits.items())
    print(f'{run.name}  {tera:.3f}  {told}  {per[0]:.3f} {per[1]:.3f}', flush=True)
    if (joules := joules_per_step(run.setup)) is None:
      continue
    total = run.step * joules / 1000
    saved = saved_per(bits[min(bits)], total)
    print(f'  {joules:.3f} J a step, {total:.3f} kJ, {saved:.3f} bits saved per kJ', flush=True)
  return 0


if __name__ == '__main__':
  sys.exit(program.run_program(lambda: main(sys.argv[1:])))
