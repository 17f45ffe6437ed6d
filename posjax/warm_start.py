"""Starting from the weights of another run: the config's section `init`.

Only weights are taken, never optimizer state, steps or the data position. A run's identity includes
the digest of its source (`init.source`), not its path, so that a run resumes without its source.
"""

import difflib
import hashlib
import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from posjax import optimizer, state, transfer, word_vectors
from posjax.data.tokenizer import BYTES, Tokenizer
from posjax.errors import UserError, one_line
from posjax.models.transformer import Transformer
from posjax.runtime import checksum


def identify(init: ConfigDict) -> None:
  """Sets `init.source`, the digest of the checkpoint that a run starts from.

  Raises:
    UserError: there is no such checkpoint, or it is corrupt.
  """
  record = state.record(init.run, init.checkpoint) if init.run else None
  init.source = digest(init, record)


def digest(init: ConfigDict, record: dict[str, Any] | None) -> str:
  """Returns a digest of a checkpoint's record, and of the file `init.vectors` if there is one."""
  if not init.vectors:
    return checksum.of_json(record)[:12]
  return checksum.of_json([record, hashlib.sha256(contents(init.vectors)).hexdigest()])[:12]


def contents(path: str) -> bytes:
  try:
    return pathlib.Path(path).expanduser().read_bytes()
  except OSError as error:
    raise UserError(f'init.vectors = {path}: {one_line(error)}') from error


def check(init: ConfigDict, model: Transformer, shapes: Any) -> None:
  """Raises UserError if a pattern of `init` matches no weight, or if all weights are frozen."""
  names = [str(leaf) for leaf in transfer.leaves(model, shapes)]
  for key in ('fresh', 'frozen'):
    for pattern in optimizer.patterns(init[key]):
      if not any(optimizer.named(name, (pattern,)) for name in names):
        close = difflib.get_close_matches(pattern, names, 1)
        raise UserError(
          f'init.{key} = {init[key]}: no weight is called {pattern}'
          + (f'; did you mean {close[0]}?' if close else '') + f' (weights: {", ".join(names)})'
        )
  if all(optimizer.named(name, optimizer.patterns(init.frozen)) for name in names):
    raise UserError(f'init.frozen = {init.frozen}: no weight is left to train')


def take(
  init: ConfigDict, tokenizer: Tokenizer, model: Transformer, mesh: jax.sharding.Mesh, params: Any
) -> Any:
  """Returns the initial weights `params` with those of run `init.run`; prints a table of both.

  Raises:
    UserError: no weight fits, the rows of the token table belong to another tokenizer, or the
      checkpoint has changed since `identify`.
  """
  saved = state.read(init.run, init.checkpoint, mesh)
  if digest(init, saved.record) != init.source:
    raise UserError(
      f'init.run = {init.run}: checkpoint {saved.step} does not have the digest {init.source}; '
      'repeat the command to start from it'
    )
  source = transfer.leaves(saved.model, saved.params)
  plan = transfer.plan(source, transfer.leaves(model, params), optimizer.patterns(init.fresh))
  if not any(any(each.rows) for each in plan):
    raise UserError(
      f'init.run = {init.run}: it has no weight for this model: {plan[0].leaf} is {plan[0]}'
    )
  rows = [each for each in plan if each.leaf.path == ('table_VD',) and any(each.rows)]
  if rows and saved.record.get('tokenizer', BYTES.sha256) != tokenizer.sha256:
    raise UserError(
      f'init.run = {init.run}: its tokenizer is another than {tokenizer.name}, so that the rows of '
      'its token table mean other tokens; set data.tokenizer to a copy of its file, or name the '
      'table in init.fresh, such as --config.init.fresh=table_VD'
    )
  print(f'weights    from {init.run}, step {saved.step}')
  print(table(init, plan, transfer.dropped(source, plan)), flush=True)
  places = jax.tree.map(lambda x: x.sharding, params)
  fill = jax.jit(lambda params, old: transfer.fill(plan, params, old), out_shardings=places)
  return fill(params, saved.params)


def take_vectors(init: ConfigDict, tokenizer: Tokenizer, params: Any) -> Any:
  """Returns the weights with word vectors as rows of the token table; prints how many.

  A token takes the vector of the word that it stands for. One factor for all vectors gives them the
  mean length of the table's initial rows, 1.

  Raises:
    UserError: the vectors have another width than the model, or no token is one of the words.
  """
  words, vectors = word_vectors.read(pathlib.Path(init.vectors).expanduser())
  table_VD = params['table_VD']
  V, D = table_VD.shape
  if vectors.shape[1] != D:
    raise UserError(
      f'init.vectors = {init.vectors}: its vectors have {vectors.shape[1]} numbers; set '
      f'model.dim = {vectors.shape[1]}, not {D}'
    )
  index = {word: i for i, word in enumerate(words)}
  read = (tokenizer.decode(np.array([i])) for i in range(tokenizer.size))
  tokens = (token.decode(errors='replace').strip() for token in read)
  pairs = [(i, index[token]) for i, token in enumerate(tokens) if token in index]
  if not pairs:
    raise UserError(
      f'init.vectors = {init.vectors}: none of its {len(words):,} words is a token of '
      f'{tokenizer.name}; train a tokenizer of words: python -m posjax.data tokenize --kind=words'
    )
  ids, rows = np.array(pairs).T
  own = vectors[rows] / np.mean(np.linalg.norm(vectors[rows], axis=1))
  print(f'weights    {len(ids):,} of {V:,} rows of table_VD from {init.vectors}', flush=True)
  fill = jax.jit(lambda table_VD: table_VD.at[ids].set(own), out_shardings=table_VD.sharding)
  return params | {'table_VD': fill(table_VD)}


def table(
  init: ConfigDict, plan: list[transfer.Taken], dropped: list[tuple[transfer.Leaf, str]]
) -> str:
  """Returns a line for each array: its name, and whether it is taken, fresh, frozen or dropped."""
  frozen = optimizer.patterns(init.frozen)
  rows = [(each.leaf, f'{each}{", frozen" * each.leaf.matches(frozen)}') for each in plan]
  names = {leaf: str(leaf) for leaf, _ in rows + dropped}
  width = max(map(len, names.values()))
  return '\n'.join(f'  {names[leaf]:<{width}}  {text}' for leaf, text in rows + dropped)
