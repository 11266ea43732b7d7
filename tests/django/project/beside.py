"""The site of the benchmark ``cached_db``: settings, URLs and views in one. Each view uses the session and nothing else."""

import os
import secrets
from functools import cache
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.urls import path

SECRET_KEY = "a key of the benchmark alone"
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "beside"
INSTALLED_APPS = ["django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    # Answers with a length: the visitors need it.
    "django.middleware.common.CommonMiddleware",
]

_database = urlsplit(os.environ["BESIDE_DATABASE"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/"),
        "USER": _database.username,
        "HOST": _database.hostname,
        "PORT": _database.port,
        # A thread keeps its connection.
        "CONN_MAX_AGE": None,
    }
}
if "SWITCHOVER_SOCKET" in os.environ:
    INSTALLED_APPS += ["switchover"]
    SESSION_ENGINE = "switchover.sessions"
    SWITCHOVER = {"SOCKET": os.environ["SWITCHOVER_SOCKET"], "TIMEOUT": 60}
else:
    SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ["BESIDE_CACHE"],
        }
    }


@cache
def _payloads(size: int) -> list[str]:
    # Nothing can compress them.
    return [secrets.token_urlsafe(size)[:size] for _ in range(16)]


def bare(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no session")


def create(request: HttpRequest, size: int) -> HttpResponse:
    request.session["data"] = secrets.choice(_payloads(size))
    return HttpResponse("created")


def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.session["data"])))


def save(request: HttpRequest) -> HttpResponse:
    request.session["data"] = secrets.choice(_payloads(len(request.session["data"])))
    return HttpResponse("saved")


def leave(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return HttpResponse("left")


urlpatterns = [
    path("bare", bare),
    path("create/<int:size>", create),
    path("read", read),
    path("save", save),
    path("leave", leave),
]
