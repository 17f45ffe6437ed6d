"""CoPE: can positions that count by content count increments, where token positions cannot?

Golovneva et al. 2024, "Contextual position encoding", arXiv 2405.18719, section 4.2: CoPE counts
the increments since a variable was last set, and fails least outside of the trained distribution.
Rows of 32 statements in training; the test has 64, with the density of training and sparse. FoX is
reported without a claim: its gates depend on the content, too.
"""

from posjax.sweep.experiment import Claim, Tier

TASK = (
  '--config.task.name=counting', '--config.train.length=32', '--config.train.batch=32',
  '--config.train.steps=400', '--config.checkpoint.every=400', '--config.optimizer.warmup=40',
  '--config.evaluate.multiples=1,2,4',
)
ARMS = {
  'cope': ('--config=configs/cope.py', *TASK),
  'rope': ('--config=configs/rope.py', *TASK),
  # Rows for the tests; those beyond 32 are never trained.
  'learned': ('--config=configs/learned.py', '--config.encoding.learned.length=128', *TASK),
  'alibi': ('--config=configs/alibi.py', *TASK),
  'fox': ('--config=configs/fox.py', *TASK),
}
SEEDS = (10, 11, 12, 13, 14)
RATES = (1e-3, 3e-3, 1e-2)
MEASURE = 'dense', 'token accuracy'
CLAIMS = (
  Claim(
    'in sparse rows of twice the length, CoPE counts at least 0.2 better than RoPE',
    lambda at: at('cope', 64, test='sparse') - at('rope', 64, test='sparse'), above=0.2,
    learned=('cope', 'rope'),
    paper='solves counting, selective copying and flip-flop where popular encodings fail '
    '(abstract)',
  ),
  Claim(
    'in rows like those of training, of twice the length, it counts at least 0.2 better than RoPE',
    lambda at: at('cope', 64) - at('rope', 64), above=0.2, learned=('cope', 'rope'),
  ),
  Claim(
    'CoPE still counts at four times the length',
    lambda at: at('cope', 128), above=0.95, null=None, learned=('cope',),
  ),
)
TIERS = {
  'gpu': Tier(
    ('--config.train.steps=10000',), size='small',
    needs='one H100 or H200; not run so far',
  ),
}
