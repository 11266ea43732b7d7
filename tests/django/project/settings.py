"""A Django project of sessions and nothing else, as the environment of the test describes it."""

import json
import os

SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
DATABASES = json.loads(os.environ["DJANGO_DATABASES"])
if any(database["ENGINE"].endswith("mysql") for database in DATABASES.values()):
    import pymysql

    # MySQL's driver in Python alone, so that no headers are needed; Django asks for the other one by its name.
    pymysql.install_as_MySQLdb()
DATABASE_ROUTERS = ["routing.ToTheDatabaseOfTheRequest"]
INSTALLED_APPS = ["django.contrib.sessions"]
SESSION_ENGINE = "django.contrib.sessions.backends.db"
USE_TZ = json.loads(os.environ["DJANGO_USE_TZ"])
TIME_ZONE = os.environ["DJANGO_TIME_ZONE"]
