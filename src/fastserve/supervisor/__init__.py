"""The process that watches over others: workers that share sockets, or one that is started again when files change.

manager    the parent of workers: starts, watches and replaces them
slot       one of the workers that there should be, and who fills it
worker     the parent's handle of one worker process
link       what parent and worker tell each other, from the worker's side
child      what runs in the worker process
dump       where a worker that does not answer stands
reload     the parent that starts one process again when files change
"""
