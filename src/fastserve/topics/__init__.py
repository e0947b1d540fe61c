"""Topics: publish a message, and every WebSocket and event stream that is subscribed to its topic gets it.

subscribe() and stream() are for connections, listen() is for consumers in Python; publish() is called from anywhere.
"""

from __future__ import annotations

from fastserve._core.topics.message import Message
from fastserve.topics.connecting import connect
from fastserve.topics.engine import Engine, EngineDown, Keep, Receiver, Recovery, Unsupported
from fastserve.topics.listening import GAP, listen
from fastserve.topics.node import require
from fastserve.topics.presence import Join, Leave
from fastserve.topics.publisher import publisher
from fastserve.topics.publishing import count, history, members, metrics, publish, publish_stored
from fastserve.topics.subscription import Subscription, stream, subscribe

__all__ = [
    "GAP",
    "Engine",
    "EngineDown",
    "Join",
    "Keep",
    "Leave",
    "Message",
    "Receiver",
    "Recovery",
    "Subscription",
    "Unsupported",
    "connect",
    "count",
    "history",
    "listen",
    "members",
    "metrics",
    "publish",
    "publish_stored",
    "publisher",
    "require",
    "stream",
    "subscribe",
]
