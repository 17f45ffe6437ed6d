"""Dialogue: do positions help, and should they restart in each turn?

974 dialogues to train on, 54 to test; nearly all are one question and one answer. Training has 400
steps of 16 rows of 128 bytes; only replies have a loss.

Positions help if the difference of nats/token, an encoding with running positions minus nope, is
below 0 over the three seeds: the 95 % interval of the paired difference excludes 0. With the arms
`_turn`, positions restart in each turn. They are better, or worse, than running ones if that
interval of the difference of nats/token, for the same encoding, excludes 0. An absolute encoding
(sinusoidal) then marks the place in a turn; to a relative one, a token and the token at the same
place in an earlier turn are at distance 0.
"""

TASK = '--config.task.name=dialogue', '--config.evaluate.multiples=1,2'
DATA = '--config.data.corpus=package:dialogue', '--config.data.fields=turns'
STEPS = '--config.train.steps=400', '--config.optimizer.warmup=40'
ROWS = ('--config.train.length=128',)
TURN = ('--config.task.dialogue.positions=turn',)
ARMS = {
  name: (f'--config=configs/{name}.py', *TASK, *DATA, *STEPS, *ROWS)
  for name in ('rope', 't5', 'sinusoidal', 'nope')
}
ARMS |= {f'{name}_turn': ARMS[name] + TURN for name in ('rope', 't5', 'sinusoidal')}
SEEDS = (0, 1, 2)
