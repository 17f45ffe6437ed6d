"""Train short, test long: which encodings work beyond the trained length?

Press et al. 2022, arXiv 2108.12409: with longer inputs, ALiBi keeps or improves its loss,
sinusoidal embeddings fail immediately and rotary ones soon after. Each arm is trained at
`train.length` with three seeds and evaluated at up to eight times that length.

Baselines without attention have the same text: recurrent networks, and an n-gram model, which
counts all of it, not the 1.02 MB that the others see in 1,000 steps.

`python -m posjax.sweep experiments/extrapolation.py`: 75 runs, an hour on two CPU cores.
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
ARMS |= {name: (f'--config=configs/{name}.py',) for name in ('lstm', 'gru', 'rnn')}
ARMS |= {'6-gram': ('posjax.ngram', '--config=configs/nope.py', '--order=6')}
SEEDS = (0, 1, 2)
