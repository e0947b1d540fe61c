"""A Django project in one file, served by its ASGI handler: sync and async views, streaming, upload, middleware."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import django  # type: ignore[import-untyped]
from compat.apps.events import Events
from django.conf import settings  # type: ignore[import-untyped]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    DEBUG=False,
    FILE_UPLOAD_MAX_MEMORY_SIZE=1024 * 1024,
    LOGGING_CONFIG=None,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.middleware.common.CommonMiddleware",
        "compat.apps.django_app.count_middleware",
    ],
    ROOT_URLCONF="compat.apps.django_app",
    SECRET_KEY="only for tests",
    USE_TZ=True,
)
django.setup()

from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]  # noqa: E402
from django.core.exceptions import PermissionDenied  # type: ignore[import-untyped]  # noqa: E402
from django.http import (  # type: ignore[import-untyped]  # noqa: E402
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path, re_path  # type: ignore[import-untyped]  # noqa: E402

events = Events()


def count_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Middleware"] = "passed"
        return response

    return middleware


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello from a view in a thread")


async def async_index(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return JsonResponse({"task": asyncio.current_task() is not None, "loop": asyncio.get_running_loop().is_running()})


def meta(request: HttpRequest) -> HttpResponse:
    plain = {key: value for key, value in request.META.items() if isinstance(value, str | int)}
    return JsonResponse(
        {
            "META": plain,
            "method": request.method,
            "path": request.path,
            "path_info": request.path_info,
            "uri": request.build_absolute_uri(),
            "GET": dict(request.GET.lists()),
            "COOKIES": request.COOKIES,
        }
    )


def item(request: HttpRequest, number: int) -> HttpResponse:
    return JsonResponse({"number": number})


def anything(request: HttpRequest, rest: str) -> HttpResponse:
    return JsonResponse({"rest": rest})


async def take_json(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"took": json.loads(request.body)})


def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for piece in file.chunks():
        digest.update(piece)
    kind = type(file).__name__
    return JsonResponse({"size": file.size, "sha256": digest.hexdigest(), "kind": kind, "note": request.POST["note"]})


async def stream(request: HttpRequest) -> HttpResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(500):
            yield f"{number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


def stream_in_thread(request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse((f"{number}\n" for number in range(500)), content_type="text/plain")


async def two_halves(request: HttpRequest) -> HttpResponse:
    async def halves() -> AsyncIterator[bytes]:
        yield b"first half\n"
        await events.wait("first half read")
        yield b"second half\n"

    return StreamingHttpResponse(halves(), content_type="text/plain")


async def sse(request: HttpRequest) -> HttpResponse:
    async def ticks() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: tick\n\n"
                await asyncio.sleep(0.005)
        finally:
            events.fire("sse closed")

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")


async def hang(request: HttpRequest) -> HttpResponse:
    """Waits for what never comes; the handler cancels it when the client leaves."""
    events.fire("hang began")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        events.fire("hang cancelled")
        raise


def file(request: HttpRequest) -> HttpResponse:
    content = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
    content.write(bytes(range(256)) * 4096)
    content.seek(0)
    return FileResponse(content, as_attachment=True, filename="bytes.bin")


def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("set")
    response.set_cookie("first", "1", httponly=True)
    response.set_cookie("second", "2", samesite="Lax")
    return response


def redirect(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/item/7/")


def not_modified(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("the same as ever")
    response["ETag"] = '"ever"'
    return response


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def boom(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the view broke")


async def async_boom(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the async view broke")


async def wait(request: HttpRequest, name: str) -> HttpResponse:
    await events.wait(name)
    return HttpResponse(name)


async def fire(request: HttpRequest, name: str) -> HttpResponse:
    events.fire(name)
    return HttpResponse(name)


urlpatterns: list[Any] = [
    path("", index),
    path("async/", async_index),
    path("meta/", meta),
    path("item/<int:number>/", item),
    re_path(r"^anything/(?P<rest>.*)$", anything),
    path("json/", take_json),
    path("upload/", upload),
    path("stream/", stream),
    path("stream/thread/", stream_in_thread),
    path("two-halves/", two_halves),
    path("sse/", sse),
    path("hang/", hang),
    path("file/", file),
    path("cookies/", cookies),
    path("redirect/", redirect),
    path("not-modified/", not_modified),
    path("forbidden/", forbidden),
    path("boom/", boom),
    path("async-boom/", async_boom),
    path("wait/<str:name>/", wait),
    path("fire/<str:name>/", fire),
]

application = get_asgi_application()
