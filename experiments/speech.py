"""Speech: are relative positions right for speech that comes late, or lasts longer?

Conformer, Gulati et al. 2020, "Conformer: convolution-augmented transformer for speech
recognition", arXiv 2005.08100, section 2.1, uses Transformer-XL's relative attention because it
generalizes better to other lengths of the input. Digits in tones, recognized by an encoder with CTC
and without Conformer's convolutions; 300 steps of 16 rows of 64 frames, three seeds, the better of
two learning rates. Test `late` at 128 frames has the utterances of test `speech` at 64, after 64
frames of silence. A random digit for each word has a word error of 0.9.

The claims were written after a few runs of transformer_xl, sinusoidal and nope with seed 0. A run
takes 17 to 23 s of CPU (1 December 2026), all 30 about eleven minutes.
"""

from posjax.sweep.experiment import Claim

NAMES = 'transformer_xl', 'wavlm', 'rope', 'sinusoidal', 'convolution', 'nope'
TASK = (
  '--config.task.name=speech', '--config.task.speech.rows=128', '--config.train.steps=300',
  '--config.optimizer.warmup=30', '--config.checkpoint.every=300',
  '--config.evaluate.multiples=1,2',
)
ARMS = {name: (f'--config=configs/{name}.py', *TASK) for name in NAMES}
ARMS['convolution'] += (
  '--config.encoding.convolution.causal=False', '--config.encoding.convolution.kernel=32',
)
SEEDS = (10, 11, 12)
RATES = (3e-3, 1e-2)
MEASURE = 'speech', 'word error'


def late(at, arm):
  """Returns the word error of late utterances minus that of the same utterances at the start."""
  return at(arm, 128, test='late') - at(arm, 64)


CLAIMS = (
  Claim(
    "Transformer-XL's attention recognizes late speech as well as speech at the start",
    lambda at: late(at, 'transformer_xl'), below=0.05, null=None,
  ),
  Claim(
    'sinusoidal positions do not: their word error grows by 0.1 or more',
    lambda at: late(at, 'sinusoidal'), above=0.1,
  ),
  Claim(
    "at twice the length, Transformer-XL's attention is better than sinusoidal positions by 0.1",
    lambda at: at('sinusoidal', 128) - at('transformer_xl', 128), above=0.1,
    paper='generalizes better to other lengths (section 2.1)',
  ),
  Claim(
    'positions matter: without them, the word error at the trained length is higher by 0.1',
    lambda at: at('nope', 64) - at('transformer_xl', 64), above=0.1,
  ),
)
