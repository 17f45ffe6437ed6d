"""An overview of the other encodings: every config that experiments/extrapolation.py leaves out.

One seed each, so only large differences are meaningful. Each file in `configs` is an arm of this
experiment automatically.

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
