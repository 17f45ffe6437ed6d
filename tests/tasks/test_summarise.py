"""Summarisation: cut documents, and ROUGE-L by hand."""

import json

import numpy as np
import pytest

from posjax.data.tokenizer import BYTES
from posjax.tasks.summarise import Summarise

RECORDS = [(f'{number} ' * 30, f'summary {number}' + '!' * (number % 4)) for number in range(200)]
FORMS = 'encoder_decoder', 'decoder'


def text(tokens):
  return BYTES.decode(tokens).decode()


@pytest.fixture
def corpus(tmp_path):
  lines = (json.dumps(dict(body=body, title=title)) for body, title in RECORDS)
  (tmp_path / 'documents.jsonl').write_text('\n'.join(lines))
  return dict(corpus=f'jsonl:{tmp_path}/documents.jsonl', fields=('body', 'title'))


@pytest.mark.parametrize(('form', 'kept'), [('encoder_decoder', 39), ('decoder', 26)])
def test_a_document_is_cut_to_the_row_in_front_of_the_longest_summary(form, kept):
  task = Summarise(form=form, longest=12)
  document = ''.join(map(chr, range(32, 122)))
  for summary in ('short', 'twelve bytes'):
    example = task.example((document, summary), 40)
    read = example.source if form == 'encoder_decoder' else example.x[: kept + 1]
    assert text(read) == document[:kept]
    assert text(example.targets[example.weights]) == summary
    assert max(len(example.x), len(read)) <= 40
  assert len(example.x) == (40 if form == 'decoder' else 13)
  assert task.example((document, 'thirteen byte'), 40) is None


@pytest.mark.parametrize('form', FORMS)
def test_longer_rows_show_more_of_the_same_documents(corpus, form):
  task = Summarise(form=form, longest=12)
  opened = task.open(corpus, 40, [40, 80])
  test = opened.tests['summarise']
  same = len(test.rows[40].weights)
  assert test.title.endswith(f': {same} at 40, {same} at 80 tokens')
  targets = [rows.targets[rows.weights].tolist() for rows in test.rows.values()]
  assert targets[0] == targets[1]
  used = [
    ((rows.source or rows.stream).segment_ids >= 0).sum(axis=1) for rows in test.rows.values()
  ]
  assert (used[1] - used[0] >= 20).all()  # a document has at least 60 bytes
  dropped = sum(len(summary) > 12 for _, summary in RECORDS)
  kept = sum(len(document) for document in opened.train)
  assert kept + len(opened.validation.weights) + same == 200 - dropped < 200


def test_the_longest_summary_must_fit():
  assert Summarise(longest=61).check(64) is None
  with pytest.raises(ValueError, match=r'^longest = 62: must be .* at most train\.length - 3 = 61'):
    Summarise(longest=62).check(64)


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence():
  pytest.importorskip('rouge_score')
  # Common: 'the cat the mat', 4 of 6 and of 5 words; the second pair is equal.
  outputs = ['the cat sat on the mat', 'Return a list.']
  references = ['the cat likes the mat', 'Return a list.']
  got = Summarise().score(outputs, references, ['', ''])
  precision, recall = 4 / 6, 4 / 5
  first = 2 * precision * recall / (precision + recall)
  assert got == {'ROUGE-L': pytest.approx(100 * np.mean([first, 1]))}
