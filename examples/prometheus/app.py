"""An application that counts what it does: /metrics shows it summed over the workers."""

import time

from fastserve import metrics

greetings = metrics.counter("greetings_total", "Greetings that were given.", language="en")
seconds = metrics.histogram("greeting_seconds", "How long a greeting took.")


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    began = time.perf_counter()
    greetings.add()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Hello, world\n"})
    seconds.observe(time.perf_counter() - began)
