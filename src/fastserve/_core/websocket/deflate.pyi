class Parameters:
    server_bits: int
    client_bits: int
    server_takeover: bool
    client_takeover: bool

class Inflater:
    def __init__(self, bits: int, takeover: bool) -> None: ...

class Deflater:
    def __init__(self, bits: int, takeover: bool) -> None: ...
