"""The shop of the examples, with passwords and connections that cost a load test little, and with a door over TCP."""

import os

from shop.settings import *

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["CONN_MAX_AGE"] = None
if "SWITCHOVER_URL" in os.environ:
    INSTALLED_APPS += ["switchover"]
    SESSION_ENGINE = "switchover.sessions"
    SWITCHOVER = {"URL": os.environ["SWITCHOVER_URL"], "TOKEN_FILE": os.environ["SWITCHOVER_TOKEN_FILE"]}
