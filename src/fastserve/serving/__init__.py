"""One server's life, drain and measurements, and the configurations of those that run in this process."""
