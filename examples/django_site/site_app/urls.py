"""The addresses of the site and what is at them."""

import asyncio
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path


def home(request: HttpRequest) -> HttpResponse:
    """A plain view: Django runs it in a thread."""
    return HttpResponse(f"<h1>Hello</h1><p>You asked for {request.build_absolute_uri()}</p>")


async def both(request: HttpRequest) -> JsonResponse:
    """An async view, which waits for two things at a time."""
    values = await asyncio.gather(asyncio.sleep(0.01, "one"), asyncio.sleep(0.01, "two"))
    return JsonResponse({"values": values})


async def count(request: HttpRequest) -> StreamingHttpResponse:
    """A response that is sent piece by piece."""

    async def lines() -> AsyncIterator[str]:
        for number in range(1, 4):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def healthy(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


urlpatterns = [path("", home), path("both", both), path("count", count), path("healthz", healthy)]
