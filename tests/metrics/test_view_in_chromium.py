"""The web view of the metrics listener in a browser."""

from __future__ import annotations

import pytest
from compat.test_websocket_programs import Page, page  # noqa: F401
from metrics.conftest import Serve

pytestmark = pytest.mark.programs


def test_in_chromium(page: Page, served: Serve) -> None:  # noqa: F811
    """The page shows what the server counts, says nothing to its console, and knows when the server is gone."""
    server = served("--workers", "2")
    server.until(lambda found: found.value("fastserve_workers", state="ready") == 2)
    page.open(server.address + "/")
    page.wait("Number(document.body.dataset.reads) >= 1")
    server.command.get("/500")
    page.wait("document.querySelector('.tile.bad')?.textContent.startsWith('Responses of 5xx')")
    assert page.run("document.querySelectorAll('#workers tr').length") == 2
    assert page.run("document.getElementById('workers-count').textContent") == "2 of 2 ready"
    assert page.run("document.getElementById('status').textContent") == "Ready"
    assert page.run("document.querySelectorAll('.tiles svg').length") == 6
    assert page.run("getComputedStyle(document.querySelector('.card')).borderTopLeftRadius") == "14px"
    assert not page.run("document.querySelector('script').textContent.includes('eval')")
    for scheme, ground in (("light", "rgb(246, 247, 245)"), ("dark", "rgb(14, 20, 18)")):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert page.run("getComputedStyle(document.body).backgroundColor") == ground
    for width in (360, 800, 1600):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
    server.command.stop()
    page.wait("document.getElementById('status').className === 'status bad'")
