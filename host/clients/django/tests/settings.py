"""A Django project whose sessions are in the Switchover server at the socket of the environment. Its own database is
the one that the server writes, so that a test can look at rows with Django's model."""

import json
import os

SECRET_KEY = "a key of the tests alone"
DATABASES = {"default": json.loads(os.environ["DJANGO_DATABASE"])}
# With `test --keepdb`: the database that is there, and not a new one.
DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    import pymysql

    pymysql.install_as_MySQLdb()
# The server has made the table.
MIGRATION_MODULES = {"sessions": None}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "sessions_tests",
    "switchover",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SESSION_ENGINE = "switchover.sessions"
SWITCHOVER = {"SOCKET": os.environ["SWITCHOVER_SOCKET"]}
ROOT_URLCONF = "site_urls"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
