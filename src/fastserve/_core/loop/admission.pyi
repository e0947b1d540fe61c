from fastserve._core.metrics import Metrics
from fastserve._core.settings import Settings

from .clock import Clock, Timed

class Place(Timed): ...
class Applicant(Place): ...

class Admission:
    length: int
    ends_awaited: int
    def __init__(self, clock: Clock, settings: Settings, metrics: Metrics) -> None: ...
