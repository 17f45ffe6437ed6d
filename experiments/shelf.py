"""The rest of the shelf at a glance: every config that experiments/extrapolation.py leaves out.

One seed each, so only large differences mean something. A file that is added to `configs` is an arm
of this experiment with no edit.

`python -m posjax.sweep experiments/shelf.py`
"""

import runpy
from pathlib import Path

from posjax import config

MEASURED = runpy.run_path(str(Path(__file__).with_name('extrapolation.py')))['ARMS']
ARMS = {
  name: (f'--config=configs/{name}.py',) for name in config.available()
  if name not in MEASURED and (config.ROOT / 'configs' / f'{name}.py').exists()  # no other task's
}
SEEDS = (0,)
