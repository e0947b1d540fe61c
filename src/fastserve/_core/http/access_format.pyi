from typing import final

from fastserve._core.http.access_steps import Step

@final
class AccessFormat:
    is_json: bool
    late: bool
    wants_headers: bool
    wants_first_byte: bool
    def __init__(self, steps: list[Step], is_json: bool) -> None: ...
