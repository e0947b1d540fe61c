from asyncio import BaseProtocol, Protocol
from collections.abc import Callable
from ssl import SSLContext

from fastserve._core.loop.clock import Timed
from fastserve._core.worker import Worker

class TlsServer:
    def __init__(self, worker: Worker, context: SSLContext, seconds: float) -> None: ...
    def serve(self, make_protocol: Callable[[], BaseProtocol]) -> Protocol: ...

class TlsTransport(Timed): ...
