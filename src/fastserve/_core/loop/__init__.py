"""What the core does with an event loop: its turns, its time, and the tasks that run applications."""
