"""RoFormer, masked: does an encoder learn masked language modeling faster with RoPE?

Su et al. 2021, arXiv 2104.09864, section 4.2 and figure 3: RoFormer's loss in masked pre-training
falls faster than that of BERT, which has learned absolute positions.
"""

from posjax.sweep.experiment import Claim, Tier

TASK = '--config.task.name=masked', '--config.train.steps=800', '--config.evaluate.multiples=1,2'
ARMS = {
  'rope': ('--config=configs/rope.py', *TASK),
  'sinusoidal': ('--config=configs/sinusoidal.py', *TASK),
  'learned': ('--config=configs/learned.py', *TASK),
}
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2, 2e-2)
MEASURE = 'masked', 'nats/token'


def area(at, arm):
  return at(arm, 64, test='training', metric='loss')


CLAIMS = (
  Claim(
    'RoPE has a lower mean training loss than learned positions',
    lambda at: area(at, 'rope') - area(at, 'learned'), below=0,
    paper='figure 3: a lower loss at every step',
  ),
  Claim(
    'RoPE has a lower mean training loss than sinusoidal embeddings',
    lambda at: area(at, 'rope') - area(at, 'sinusoidal'), below=0,
  ),
  Claim(
    'RoPE covers more held-out bytes correctly: fewer nats per byte than learned positions',
    lambda at: at('rope', 64) - at('learned', 64), below=0,
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=5000', '--config.train.length=64'), size='small',
    needs='one H100 or H200; not run so far',
  ),
}
