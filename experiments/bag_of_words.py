"""A bag of words: how well can a text be classified without the order of its words?

TF-IDF of words, or of strings of 1 to 3 characters, and logistic regression, both of scikit-learn
with their defaults. It reads exactly what the Transformer of the config reads: all texts of the
training split, cut to train.length tokens, and the rows of the test at each length. Strings of
characters keep the order within a word; for Chinese they take the place of words.

  python experiments/bag_of_words.py --config=configs/tasks/classify.py
  python experiments/bag_of_words.py --config=configs/tasks/classify.py --characters
"""

import sys

from posjax import run as run_lib
from posjax import state
from posjax.errors import UserError
from posjax.runtime import program


def evaluate(setup, analyzer):
  """Yields (length, accuracy, macro-F1) for each length of the test.

  Args:
    setup: the `Setup` of a config whose task is `classify`.
    analyzer: 'word' or 'char', as scikit-learn has it.

  Raises:
    UserError: the data is not available.
  """
  try:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.pipeline import make_pipeline
  except ImportError as error:
    raise UserError("scikit-learn is missing; run: pip install -e '.[tasks]'") from error
  data = setup.open()
  text = lambda ids: setup.task.tokenizer.decode(ids).decode('utf-8', 'ignore')
  learned = [example for (example,) in data.train]
  ngrams = (1, 3) if analyzer == 'char' else (1, 1)
  model = make_pipeline(
    TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, sublinear_tf=True),
    LogisticRegression(max_iter=1000),
  )
  model.fit([text(example.x) for example in learned], [example.targets[0] for example in learned])
  for length, rows in data.tests['texts'].rows.items():
    stream, true = rows.stream, rows.targets[:, 0]
    found = model.predict([
      text(ids[segment == 0]) for ids, segment in zip(stream.x, stream.segment_ids, strict=True)
    ])
    yield length, accuracy_score(true, found), f1_score(true, found, average='macro')


def main(argv):
  analyzer = 'char' if '--characters' in argv else 'word'
  config = run_lib.parse(['posjax', *(flag for flag in argv if flag != '--characters')]).config
  if config.task.name != 'classify':
    raise UserError(f'task.name = {config.task.name}: a bag of words learns only classify')
  print(f'{config.data.corpus}, TF-IDF of {analyzer}s\nlength  accuracy  macro F1', flush=True)
  for length, accuracy, macro in evaluate(state.setup(config), analyzer):
    print(f'{length:6}  {accuracy:8.3f}  {macro:8.3f}', flush=True)
  return 0


if __name__ == '__main__':
  sys.exit(program.run_program(lambda: main(sys.argv[1:])))
