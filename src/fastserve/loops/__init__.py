"""Event loops: a module for each factory that `--loop` names, and `running` to run a coroutine on a new loop."""
