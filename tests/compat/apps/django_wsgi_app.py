"""The Django project of django_app behind its WSGI handler."""

from __future__ import annotations

from importlib import import_module

import_module("compat.apps.django_app")  # configures Django

from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]  # noqa: E402

application = get_wsgi_application()
