from typing import final

@final
class Topic:
    name: str
    count: int
