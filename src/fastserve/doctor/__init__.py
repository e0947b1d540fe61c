"""What is wrong before anything is served: the rehearsal of a start, and what to look at on this machine."""
