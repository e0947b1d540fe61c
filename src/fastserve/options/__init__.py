"""What a server can be told: the options, their values, and which of them contradict each other."""
