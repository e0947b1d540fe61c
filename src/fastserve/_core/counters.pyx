# setup.py: cold
"""Counts of live objects, kept so that tests can show that nothing leaks."""


def live():
    """Return how many objects of each kind exist in this process, by kind."""
    return {
        "connection": live_counts.connection,
        "exchange": live_counts.exchange,
        "task": live_counts.task,
        "buffer": live_counts.buffer,
        "websocket": live_counts.websocket,
        "subscriber": live_counts.subscriber,
    }
