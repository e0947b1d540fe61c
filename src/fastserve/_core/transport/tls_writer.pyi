from .writer import Writer

class TlsWriter(Writer):
    def look(self) -> None: ...
