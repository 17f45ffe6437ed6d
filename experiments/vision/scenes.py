"""Scenes: does a caption of an image need positions with rows and columns?

M-RoPE (Wang et al. 2024, "Qwen2-VL", arXiv 2409.12191) gives each cell of an image its time, row
and column; its planes are chunks, or, interleaved, alternate between the axes, so that each axis
has high and low frequencies (Huang et al. 2025, arXiv 2510.23095). The other arms number the tokens
in a line, in which the cell below is a row's length further on. All arms see where rows end.

Captions of 2 x 2 objects by rows or by columns, see posjax/tasks/scenes.py: 1,000 steps of 32 rows
of 32 tokens, images of 2 or 3 rows and columns; the test `larger` has 3 or 4 at 32 tokens, 6 or 7
at 64. Three seeds, at the better of two learning rates.

The claims below were written before the sweep, after one run of two arms with seed 10.
"""

from posjax.sweep.experiment import Claim

TASK = (
  '--config.task.name=scenes',
  '--config.task.scenes.images=1',
  '--config.task.scenes.block=2',
  '--config.task.scenes.side=3',
  '--config.model.head_dim=32',
  '--config.train.length=32',
  '--config.train.batch=32',
  '--config.train.steps=1000',
  '--config.checkpoint.every=1000',
  '--config.optimizer.warmup=50',
  '--config.evaluate.multiples=1,2',
)
LINE = (*TASK, '--config.task.scenes.positions=line')
ARMS = {
  'mrope_interleaved': ('--config=configs/tasks/scenes.py', *TASK),
  'mrope_chunks': (
    '--config=configs/tasks/scenes.py', *TASK, '--config.encoding.rope_nd.planes.layout=chunks',
  ),
  'rope': ('--config=configs/rope.py', *LINE, '--config.encoding.rope.base=1000.0'),
  'sinusoidal': ('--config=configs/sinusoidal.py', *LINE),
  'nope': ('--config=configs/nope.py', *LINE),
}
SEEDS = (11, 12, 13)
RATES = (5e-3, 1e-2)
MEASURE = 'larger', 'token accuracy'


def columns(at, arm):
  """Returns the accuracy of captions by columns, of images as in training."""
  return at(arm, 32, test='scenes', metric='by columns')


CLAIMS = (
  Claim(
    'Rows and columns help to read by columns, in images as in training',
    lambda at: columns(at, 'mrope_interleaved') - columns(at, 'rope'), above=0,
  ),
  Claim(
    'They help in larger images, in rows of twice the trained length, by 0.05',
    lambda at: at('mrope_interleaved', 64) - at('rope', 64), above=0.05,
  ),
  Claim(
    'Interleaved planes are better than chunks in larger images',
    lambda at: at('mrope_interleaved', 64) - at('mrope_chunks', 64), above=0,
    paper='arXiv 2510.23095',
  ),
  Claim(
    'Places matter: M-RoPE is better than no positions, in images as in training',
    lambda at: columns(at, 'mrope_interleaved') - columns(at, 'nope'), above=0.1,
  ),
)
