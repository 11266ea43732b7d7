"""The shop as the environment describes it: where its database is, and who keeps its sessions."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "a key of the example alone")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"

_database = urlsplit(os.environ["SHOP_DATABASE"])
# The users, and the table `django_session` until the sessions have moved.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/"),
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": _database.hostname or "",
        "PORT": _database.port or "",
    }
}

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

# Without a socket it is the shop of before: Django keeps the sessions itself.
if "SWITCHOVER_SOCKET" in os.environ:
    INSTALLED_APPS += ["switchover"]
    SESSION_ENGINE = "switchover.sessions"
    SWITCHOVER = {"SOCKET": os.environ["SWITCHOVER_SOCKET"]}
else:
    SESSION_ENGINE = "django.contrib.sessions.backends.db"

LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "basket"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
