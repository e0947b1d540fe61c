from asyncio import Transport

from .clock import Clock
from .turn import Flushable, Turn

class Writer(Flushable):
    def __init__(self, transport: Transport, fd: int, turn: Turn, clock: Clock) -> None: ...
