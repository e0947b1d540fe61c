from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.tls.client import Secure
from fakes.worker import FakeWorker
from tls.pki import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def secure(pki: Pki) -> Iterator[Callable[..., Secure]]:
    """Connect to a worker with TLS: secure(wire, **changes) -> Secure, where `changes` are for the client's context."""
    made: list[Secure] = []

    def connect(wire: FakeWorker, **changes: Any) -> Secure:
        made.append(Secure(wire, pki, **changes))
        return made[-1]

    yield connect
    for peer in made:
        peer.leave()
