"""What tests of the access log begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from core.access import Log
from fakes.worker import FakeWorker

Work = Callable[..., FakeWorker]


@pytest.fixture
def log(work: Work, request: pytest.FixtureRequest) -> Iterator[Log]:
    log = Log(work, f"access.{request.node.name}")
    yield log
    log.logger.handlers.clear()
