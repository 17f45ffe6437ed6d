"""Tasks, one file each: copy.py holds the task called 'copy', which is found by itself."""

from posjax.tasks.core.shelf import arguments, build, find, meanings, names
from posjax.tasks.core.task import Data, Task, Test, pool

__all__ = ['Data', 'Task', 'Test', 'arguments', 'build', 'find', 'meanings', 'names', 'pool']
