"""Compares word vectors trained here with gensim's: `python experiments/word_vectors.py [SEEDS]`.

Needs gensim, and for a second row of fastText its own program: `pip install -e '.[vectors]'`. The
text is lee_background.cor, 300 news articles in gensim's test data. Each program trains SEEDS (3)
seeds of each method with equal settings. For any two sets of vectors, the figure is Spearman's rank
correlation of the cosines of all pairs among the 300 most frequent words.

Criterion, fixed before the first run: for each method, the mean of the nine correlations between a
seed of posjax and a seed of the other program is at least the smallest of the three correlations
between two seeds of the other program.

Exit codes: 0 the criterion holds in each row; 1 it does not.
"""

import importlib.util
import itertools
import pathlib
import sys
import tempfile
import time

import numpy as np
from scipy.stats import spearmanr

from posjax import word_vectors
from posjax.errors import UserError
from posjax.runtime import program
from posjax.word_vectors import cbow, fasttext, skipgram

COMPARED = 300  # words
DIM, WINDOW, EPOCHS, MIN_COUNT, LEARNING_RATE, BUCKETS = 50, 5, 20, 5, 0.025, 20_000


def ours(method, text, seed):
  """Returns the vectors of the most frequent words."""
  settings = dict(
    dim=DIM, window=WINDOW, epochs=EPOCHS, learning_rate=LEARNING_RATE, seed=seed
  )
  if method == 'fasttext':
    return fasttext.train(text, buckets=BUCKETS, **settings).vectors()[:COMPARED]
  module = {'skipgram': skipgram, 'cbow': cbow}[method]
  return module.train(text, **settings)[:COMPARED]


def of_gensim(method, documents, words, seed):
  """Returns the vectors of `words`."""
  from gensim.models import FastText, Word2Vec

  settings = dict(
    vector_size=DIM, window=WINDOW, epochs=EPOCHS, min_count=MIN_COUNT, alpha=LEARNING_RATE,
    negative=5, sample=1e-3, workers=1, seed=seed, sg=int(method != 'cbow'),
  )
  if method == 'fasttext':  # noise of count^0.5, as in the paper and in fastText's program
    subwords = dict(bucket=BUCKETS, min_n=3, max_n=6, ns_exponent=0.5)
    return FastText(documents, **subwords, **settings).wv[words]
  return Word2Vec(documents, **settings).wv[words]


def of_fasttext(method, documents, words, seed):
  """Returns the vectors of `words`."""
  from fasttext import FastText

  # Its generator is x -> 48271 x mod 2^31 - 1: with seeds 1 and 2, initial values correlate at 0.5.
  spread = int(np.random.default_rng(seed).integers(2**31 - 1))
  FastText.unsupervised_default['seed'] = spread  # release 0.9.2 has no argument for it
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'text')
    path.write_text(''.join(' '.join(document) + '\n' for document in documents))
    model = FastText.train_unsupervised(
      str(path), model='skipgram', dim=DIM, ws=WINDOW, epoch=EPOCHS, minCount=MIN_COUNT,
      lr=LEARNING_RATE, bucket=BUCKETS, minn=3, maxn=6, neg=5, t=1e-3, thread=1, verbose=0,
    )
  return np.stack([model.get_word_vector(word) for word in words])


def similarities(vectors):
  """Returns the cosines of all pairs of rows, each pair once."""
  rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
  return (rows @ rows.T)[np.triu_indices(len(rows), 1)]


def correlations(pairs):
  return [spearmanr(a, b).statistic for a, b in pairs]


def show(values):
  return f'{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})'


def read_text():
  """Returns the tokenized articles."""
  try:
    from gensim.test.utils import datapath
  except ImportError as error:
    raise UserError("gensim is not installed; run: pip install -e '.[vectors]'") from error
  with open(datapath('lee_background.cor'), 'rb') as file:
    return [word_vectors.tokens(line) for line in file]


def peers():
  """Yields (method, name of the other program, its function)."""
  for method in ('skipgram', 'cbow', 'fasttext'):
    yield method, 'gensim', of_gensim
  if importlib.util.find_spec('fasttext'):
    yield 'fasttext', 'fastText', of_fasttext
  else:
    print('fasttext is not installed: no row for its own program', file=sys.stderr)


def main():
  documents = read_text()
  text = word_vectors.build(documents, MIN_COUNT)
  seeds = range(1, 1 + int(sys.argv[1] if sys.argv[1:] else 3))
  print(f'{len(text.ids):,} tokens, {len(text.words):,} words, {len(seeds)} seeds')
  print('| method | other | other, other | posjax, other | posjax, posjax | holds | CPU s |')
  print('| --- ' * 7 + '|')
  hold, trained = [], {}
  for method, name, function in peers():
    start = time.process_time()
    if method not in trained:
      trained[method] = [similarities(ours(method, text, seed)) for seed in seeds]
    middle = time.process_time()
    a, words = trained[method], text.words[:COMPARED]
    b = [similarities(function(method, documents, words, seed)) for seed in seeds]
    between = correlations(itertools.product(a, b))
    among, own = (correlations(itertools.combinations(sets, 2)) for sets in (b, a))
    hold.append(np.mean(between) >= min(among))
    seconds = f'{middle - start:.0f} and {time.process_time() - middle:.0f}'
    cells = method, name, *map(show, (among, between, own)), 'yes' if hold[-1] else 'no', seconds
    print(f'| {" | ".join(cells)} |', flush=True)
  return 0 if all(hold) else 1


if __name__ == '__main__':
  sys.exit(program.run_program(main))
