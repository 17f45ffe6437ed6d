"""The standard library of the running Python as a text corpus, written with TFDS.

It is real text that every machine has, 11 MB of code and prose in about 600 files: nothing is
downloaded. One file is one document. Tests, character tables, build products, installed packages
and empty files are left out, because they were not written for readers.
"""

import hashlib
import pathlib
import platform
import sysconfig
from collections.abc import Iterator

import tensorflow_datasets as tfds

from posjax.data.corpus import SPLITS, digest
from posjax.errors import UserError

EXCLUDED = (
  'test', 'tests', 'idle_test', 'encodings', 'site-packages', 'dist-packages', '__pycache__'
)  # fmt: skip


def library() -> dict[str, pathlib.Path]:
  """Returns the files of the corpus: posix path relative to the standard library -> path, sorted.

  Raises:
    UserError: this Python has no source files.
  """
  root = pathlib.Path(sysconfig.get_paths()['stdlib'])
  files = {path.relative_to(root).as_posix(): path for path in root.rglob('*.py')}
  files = {name: files[name] for name in sorted(files) if _included(name, files[name])}
  if not files:
    raise UserError(
      f'{root} has no .py files: this Python ships without its source; train on other text: '
      "--config.data.corpus='text:my/files/*.txt'"
    )
  return files


def _included(name: str, path: pathlib.Path) -> bool:
  *folders, file = name.split('/')
  if file.startswith('_sysconfigdata') or not path.stat().st_size:
    return False
  return not any(folder in EXCLUDED or folder.startswith('config-') for folder in folders)


def split_of(name: str) -> str:
  """Returns the split of a file, 90 / 5 / 5 percent by the SHA-256 of its name."""
  percentile = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
  return 'train' if percentile < 90 else 'validation' if percentile < 95 else 'test'


class PythonSource(tfds.core.GeneratorBasedBuilder):
  """The standard library as a TFDS dataset: features `text` and `name`.

  `info.metadata` records files, bytes and sha256.
  """

  VERSION = tfds.core.Version('1.0.0')
  # Different Python versions must not share a prepared copy.
  BUILDER_CONFIGS = (tfds.core.BuilderConfig(name=platform.python_version()),)
  url_infos = None  # no downloads, so no checksums to look for

  @property
  def title(self) -> str:
    """The name of the dataset in the progress message."""
    return f'the Python source ({len(library())} files)'

  def _info(self) -> tfds.core.DatasetInfo:
    features = {'text': tfds.features.Text(), 'name': tfds.features.Text()}
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=tfds.features.FeaturesDict(features),
      metadata=tfds.core.MetadataDict(),
      license='PSF-2.0',
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    documents = {name: path.read_bytes() for name, path in library().items()}
    self.info.metadata.update(
      files=len(documents),
      bytes=sum(map(len, documents.values())),
      sha256=digest(documents.items()),
    )
    return {split: self._generate_examples(documents, split) for split in SPLITS}

  def _generate_examples(
    self, documents: dict[str, bytes], split: str
  ) -> Iterator[tuple[str, dict[str, bytes | str]]]:
    for name, text in documents.items():
      if split_of(name) == split:
        yield name, {'text': text, 'name': name}
