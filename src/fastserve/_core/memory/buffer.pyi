from typing import final

@final
class Buffer: ...
