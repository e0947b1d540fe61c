from typing import TypeAlias, final

_Found: TypeAlias = tuple[int, int, int, bytes, bool, bool] | tuple[str, int]

@final
class FrameParser:
    def read(self, data: bytes) -> list[_Found]: ...
