from typing import final

from fastserve._core.http.response import Response
from fastserve._core.interfaces import Handler
from fastserve._core.loop.turn import Flushable

class Incoming(Handler): ...

@final
class Http1Response(Response): ...

@final
class HeldHead(Flushable): ...
