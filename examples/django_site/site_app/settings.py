"""The settings of a small site; what is secret or differs from place to place comes from the environment."""

import os

DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only good enough for trying this example")
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "127.0.0.1 localhost").split()
ROOT_URLCONF = "site_app.urls"
ASGI_APPLICATION = "site_app.asgi.application"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
# The server says https as a proxy of --forwarded-allow-ips does; Django needs no setting for that.
USE_TZ = True
