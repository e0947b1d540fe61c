from typing import final

from fastserve._core.http.version import Version
from fastserve._core.http1.response import Incoming
from fastserve._core.loop.turn import Runnable

@final
class Http1Connection(Incoming): ...

class Refusal(Runnable): ...
class Http1(Version): ...
