from typing import Any

CODE: dict[str, int]

class AccessFormat:
    is_json: bool
    late: bool
    wants_headers: bool
    def __init__(self, steps: list[tuple[int, bytes, bytes, Any, int, int]], is_json: bool) -> None: ...
