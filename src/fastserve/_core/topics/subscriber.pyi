from typing import Any, final

from fastserve._core.interfaces import Pending

@final
class Subscriber(Pending):
    number: int
    key: Any
    def known_by(self, key: Any) -> bool: ...
    def alive(self) -> None: ...
