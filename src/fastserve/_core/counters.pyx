# setup.py: cold
"""Counts of live objects, kept so that tests can show that nothing leaks."""
from .threads cimport fastserve_counted


def live():
    """Return how many objects of each kind exist in this process, by kind."""
    return {
        "connection": fastserve_counted(&live_counts.connection),
        "exchange": fastserve_counted(&live_counts.exchange),
        "task": fastserve_counted(&live_counts.task),
        "buffer": fastserve_counted(&live_counts.buffer),
        "websocket": fastserve_counted(&live_counts.websocket),
        "subscriber": fastserve_counted(&live_counts.subscriber),
    }
