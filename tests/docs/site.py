"""The site of the documentation in a browser, once `zensical build` has made it; `.ci/run` runs this after that."""

from __future__ import annotations

from compat.test_websocket_programs import Page, page  # noqa: F401
from docs.pages import PAGES, ROOT

SITE = ROOT / "build" / "site"
WIDTHS = {390: 844, 1280: 900}  # a phone, a desk
DOCUMENTS = sorted(SITE.rglob("index.html"))
LOADED = "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))"


def test_site_is_complete() -> None:
    assert len(DOCUMENTS) == len(PAGES) - 1  # without the README


def test_no_page_is_wider_than_the_screen(page: Page) -> None:  # noqa: F811
    """What is wide, such as tables and code, is scrolled by itself."""
    page.open("about:blank")
    page.call("Network.enable")
    page.call("Network.setBlockedURLs", urls=["https://*"])
    too_wide = []
    for width, height in WIDTHS.items():
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        for document in DOCUMENTS:
            page.call("Page.navigate", url=document.as_uri())
            page.run(LOADED)
            assert page.run("location.href") == document.as_uri()
            assert page.run("document.styleSheets.length > 0 && document.querySelector('h1') !== null"), document
            if page.run("document.documentElement.scrollWidth > innerWidth"):
                too_wide.append((width, document.parent.relative_to(SITE).as_posix()))
    assert too_wide == []
