import logging

from .turn import Flushable

class AccessLog(Flushable):
    def __init__(self, logger: logging.Logger, formatter_class: type[logging.Formatter], default_fmt: str) -> None: ...
    def write_held(self) -> None: ...
