"""Event loops: a module for each factory that `--loop` names, and running a coroutine on a loop of one."""
