"""Train short, test long: which encodings hold at lengths beyond those they were trained at?

Press et al. 2022, arXiv 2108.12409: ALiBi holds or improves as the input grows, sinusoidal
embeddings fail at once, rotary ones soon after. Each arm is trained at `train.length` with three
seeds and evaluated up to eight times that.

`python -m posjax.sweep experiments/extrapolation.py`: 63 runs, an hour on two CPU cores.
"""

NAMES = (
  'nope', 'sinusoidal', 'learned', 'rope', 'xpos', 'randomize', 'shaw', 'transformer_xl', 'alibi',
  't5', 'kerple', 'fire', 'dape', 'cope', 'fox', 'stick_breaking', 'path', 'rnope_swa',
  'local_global',
)
ARMS = {name: (f'--config=configs/{name}.py',) for name in NAMES} | {
  'rope+fox': ('--config=configs/fox.py', '--config.encoding.layers=rope+fox'),
  'sinusoidal+t5': ('--config=configs/t5.py', '--config.encoding.layers=sinusoidal+t5'),
}
SEEDS = (0, 1, 2)
