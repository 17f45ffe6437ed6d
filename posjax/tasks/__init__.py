"""Tasks, one file each: copy.py holds the task 'copy', which is registered automatically."""

from posjax.tasks.core.registry import arguments, build, find, meanings, names
from posjax.tasks.core.task import Data, Task, Test, pool

__all__ = ['Data', 'Task', 'Test', 'arguments', 'build', 'find', 'meanings', 'names', 'pool']
