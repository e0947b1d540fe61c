from fastserve._core.settings import Settings

class Parser:
    def __init__(self, settings: Settings) -> None: ...
