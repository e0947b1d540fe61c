"""What users of Django touch that depends on the server: sessions, files, conditional answers, proxies, mounts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]

FILES = Path(os.environ["COMPAT_FILES"])

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost", "site.example"],
    DEBUG=False,
    INSTALLED_APPS=["django.contrib.sessions", "django.contrib.messages"],
    LOGGING_CONFIG=None,
    MESSAGE_STORAGE="django.contrib.messages.storage.cookie.CookieStorage",
    MIDDLEWARE=[
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    ROOT_URLCONF="compat.apps.features_django",
    SECRET_KEY="only for tests",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    USE_TZ=True,
)
django.setup()

from django.contrib import messages  # type: ignore[import-untyped]  # noqa: E402
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]  # noqa: E402
from django.http import (  # type: ignore[import-untyped]  # noqa: E402
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect  # type: ignore[import-untyped]  # noqa: E402
from django.urls import path, reverse  # type: ignore[import-untyped]  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]  # noqa: E402
from django.views.decorators.http import require_POST  # type: ignore[import-untyped]  # noqa: E402
from django.views.static import serve  # type: ignore[import-untyped]  # noqa: E402


@csrf_exempt  # type: ignore[untyped-decorator]
def see(request: HttpRequest) -> HttpResponse:
    names = ("REMOTE_ADDR", "SCRIPT_NAME", "PATH_INFO", "CONTENT_LENGTH", "CONTENT_TYPE", "QUERY_STRING")
    return JsonResponse(
        {
            "meta": {name: request.META.get(name) for name in names},
            "uri": request.build_absolute_uri(),
            "secure": request.is_secure(),
            "GET": dict(request.GET.lists()),
            "POST": dict(request.POST.lists()),
            "FILES": {name: [each.name, each.size] for name, each in request.FILES.items()},
            "COOKIES": request.COOKIES,
            "link": reverse("see"),
            "list": request.headers.get("x-list"),
        }
    )


def count(request: HttpRequest) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


def say(request: HttpRequest) -> HttpResponse:
    messages.info(request, "said")
    return redirect("heard")


def heard(request: HttpRequest) -> HttpResponse:
    return HttpResponse(",".join(str(each) for each in messages.get_messages(request)))


def file(request: HttpRequest) -> HttpResponse:
    return FileResponse((FILES / "large.bin").open("rb"), as_attachment=True, filename="gr\xfc\xdfe.bin")


async def stream(request: HttpRequest) -> HttpResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(100):
            yield f"{number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


@csrf_exempt  # type: ignore[untyped-decorator]
async def unread(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no", status=401)


@csrf_exempt  # type: ignore[untyped-decorator]
def piecewise(request: HttpRequest) -> HttpResponse:
    sizes = []
    while piece := request.read(50_000):
        sizes.append(len(piece))
    return HttpResponse(str(sum(sizes)))


@require_POST  # type: ignore[untyped-decorator]
def guarded(request: HttpRequest) -> HttpResponse:
    return HttpResponse("not without a token")


def large(request: HttpRequest) -> HttpResponse:
    return HttpResponse("compress me " * 1000, headers={"Cache-Control": "max-age=60"})


def static(request: HttpRequest, name: str) -> Any:
    return serve(request, name, document_root=str(FILES))


urlpatterns = [
    path("see/", see, name="see"),
    path("count/", count),
    path("say/", say),
    path("heard/", heard, name="heard"),
    path("file/", file),
    path("stream/", stream),
    path("unread/", unread),
    path("piecewise/", piecewise),
    path("guarded/", guarded),
    path("large/", large),
    path("static/<path:name>", static),
]
app = get_asgi_application()
