"""The registry of tasks: finds a task by name, and builds it from the config's section `task`."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from posjax.data.tokenizer import BYTES, Tokenizer
from posjax.errors import UserError, one_of
from posjax.tasks.core.task import Task

FOLDER = Path(__file__).parents[1]


def names() -> list[str]:
  """Returns the names of all tasks, sorted."""
  return sorted(m.name for m in pkgutil.iter_modules([str(FOLDER)]) if not m.ispkg)


def find(name: str) -> type[Task]:
  """Returns the class of the task called `name`. Raises UserError if there is none."""
  if name not in names():
    raise UserError(f'task.name = {name}: {one_of(name, names())}')
  module = importlib.import_module(f'posjax.tasks.{name}')
  (kind,) = (
    value for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
  )
  return kind


def arguments(kind: type[Task]) -> dict[str, Any]:
  """Returns the arguments of a task with their defaults."""
  return kind.arguments()


def meanings(name: str) -> dict[str, str]:
  """Returns the meaning of each argument of a task: the comment next to its field."""
  found = {}
  for kind in reversed(find(name).__mro__[:-1]):
    for line in inspect.getsource(kind).splitlines():
      if match := re.match(r'  (\w+): [^#]* = [^#]*  # (.*)', line):
        found[match[1]] = match[2]
  return {key: found.get(key, '') for key in arguments(find(name))}


def build(
  name: str, length: int, *, form: str = 'auto', tokenizer: Tokenizer = BYTES, **sections: Any
) -> Task:
  """Returns the task of the config's section `task`.

  Args:
    name: the name of the task.
    length: tokens of a row in training.
    form: the form of the model; 'auto': the task's default.
    tokenizer: of its text.
    **sections: {name of the task: its arguments}.

  Raises:
    UserError: the task or an argument is unknown, a value is invalid, the task does not support the
      form, or its class names a metric that it does not compute.
  """
  kind = find(name)
  form = kind.forms[0] if form == 'auto' else form
  if form not in kind.forms:
    raise UserError(
      f'model.form = {form}: task.name is {name}, which supports {" or ".join(kind.forms)}; '
      f'auto selects {"the first" * (len(kind.forms) > 1) or "that"}'
    )
  for section in sections:
    if section != name:
      raise UserError(f'task.{section}: task.name is {name}, so that nothing would read it')
  values, valid = dict(sections.get(name, {})), arguments(kind)
  for key, value in values.items():
    where = f'task.{name}.{key}'
    if key not in valid:
      raise UserError(f'{where}: no such argument; {one_of(key, valid)}')
    if type(value) is int and type(valid[key]) is float:
      values[key] = float(value)
    elif type(value) is not type(valid[key]):
      raise UserError(f'{where}: {value!r} is not of type {type(valid[key]).__name__}')
  task = kind(**values, form=form, tokenizer=tokenizer)
  try:
    task.check(length)
  except ValueError as error:
    own = str(error).partition(' ')[0] in valid  # an argument, not a key of another section
    raise UserError(f'task.{name}.{error}' if own else str(error)) from error
  check_metrics(task, length)
  return task


def check_metrics(task: Task, length: int) -> None:
  """Raises UserError if `best` or `shown` name a metric that the task does not compute."""
  batch = task.row(length)
  outputs = jax.ShapeDtypeStruct((1, length, task.outputs), jnp.float32)
  found = jax.eval_shape(task.metrics, outputs, batch)
  summary = task.summary(dict.fromkeys(found, 1.0))
  for field, metrics, valid in (('best', (task.best,), found), ('shown', task.shown, summary)):
    for metric in metrics:
      if metric not in valid:
        file = inspect.getfile(type(task))
        raise UserError(f'{file}: {field} names {metric!r}: {one_of(metric, valid)}')
