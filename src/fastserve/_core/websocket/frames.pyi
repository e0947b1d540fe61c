from .deflate import Inflater

class FrameReader:
    def __init__(self, max_size: int, max_fragments: int, inflater: Inflater | None = None) -> None: ...
