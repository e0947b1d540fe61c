from typing import Any, final

CODE: dict[str, int]

@final
class AccessFormat:
    is_json: bool
    late: bool
    wants_headers: bool
    wants_first_byte: bool
    def __init__(self, steps: list[tuple[int, bytes, bytes, Any, int, int]], is_json: bool) -> None: ...
