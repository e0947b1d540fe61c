from fastserve._core.interfaces import Shared

class Message(Shared):
    topic: str
    id: str | None
    event: str | None
    def __init__(
        self,
        topic: str,
        data: str | bytes | bytearray | memoryview,
        position: str | None = ...,
        event: str | None = ...,
    ) -> None: ...
    @property
    def text(self) -> str: ...
    def labelled(self) -> Message: ...
    def event_bytes(self) -> bytes: ...
    def encodings(self) -> list[str]: ...

class Comment(Shared):
    def __init__(self) -> None: ...
