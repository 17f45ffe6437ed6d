"""A tokenizer of words, and the text of records."""

import collections
import json
import re

import numpy as np
import pytest

from posjax import data
from posjax.data.__main__ import main
from posjax.data.load_tokenizer import load
from posjax.data.train_tokenizer import load_texts

pytest.importorskip('tokenizers')

TEXT = 'The cat saw the dog; the DOG saw a naïve 猫!\n' * 9 + 'A rare bird_2, seen once.\n'


def words(tmp_path, text=TEXT, size=4096):
  (tmp_path / 'a.txt').write_text(text)
  out = tmp_path / 'words.json'
  corpus = f'text:{tmp_path}/*.txt'
  assert main(['tokenize', corpus, '--kind=words', f'--size={size}', f'--out={out}']) == 0
  return load(str(out))


def test_ids_are_the_most_frequent_words_in_lower_case(tmp_path, capsys):
  own = words(tmp_path, TEXT * 20, size=6)
  [training] = data.load(f'text:{tmp_path}/*.txt').documents('train')
  counts = collections.Counter(re.findall(r'\w+|[^\w\s]', training.decode().lower()))
  tokens = [own.decode(np.array([i])).decode().strip() for i in range(own.size)]
  assert own.size == 6 and tokens[0] == ''
  assert sorted(counts[token] for token in tokens[1:]) == sorted(counts.values())[-5:]
  assert own.lengths is None
  assert re.search(r'bytes per token, [\d.]+% of them \[UNK\]\n', capsys.readouterr().out)


def test_text_is_split_into_words_and_single_characters(tmp_path):
  own = words(tmp_path)
  decoded = own.decode(own.encode('The  dog saw\tthe naïve\n猫 !!'.encode())).decode()
  assert decoded == ' the dog saw the naïve 猫 ! !'


def test_unknown_words_have_one_id_which_is_never_generated(tmp_path):
  own = words(tmp_path)
  unknown = own.encode(b'zebra gnu [UNK] the')
  # In text, [UNK] is two brackets and a word, all of them unknown.
  assert unknown[:5].tolist() == [own.never[0]] * 5 and own.never == (unknown[0],)
  assert own.decode(unknown) == b' the'


def test_a_document_of_records_is_the_text_of_their_fields(tmp_path):
  path = tmp_path / 'a.jsonl'
  records = [{'text': f'text {i}', 'tokens': ['two', f'words{i}'], 'label': '1'} for i in range(40)]
  path.write_text(''.join(f'{json.dumps(record)}\n' for record in records))
  corpus = load_texts(f'jsonl:{path}', '', ('text', 'tokens'))
  documents = {document for split in ('train', 'validation', 'test')
               for document in corpus.documents(split)}
  assert documents == {f'text {i}\ntwo words{i}'.encode() for i in range(40)}
  assert (corpus.files, corpus.bytes) == (40, sum(map(len, documents)))


def test_the_fewest_ids_depend_on_the_kind(tmp_path, capsys):
  (tmp_path / 'a.txt').write_text(TEXT)
  command = ['tokenize', f'text:{tmp_path}/a.txt', f'--out={tmp_path}/t.json', '--kind=words']
  assert main([*command, '--size=1']) == 2
  assert '--size=1: must be at least 2 for --kind=words' in capsys.readouterr().err
  assert main([*command, '--size=2']) == 0 and load(f'{tmp_path}/t.json').size == 2
