from asyncio import Transport

from fastserve._core.loop.clock import Clock
from fastserve._core.loop.turn import Flushable, Turn

class Writer(Flushable):
    def __init__(self, transport: Transport, fd: int, turn: Turn, clock: Clock) -> None: ...
