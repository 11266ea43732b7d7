"""Does what a Django process does with its sessions: a request of JSON on each line of stdin, an answer on one of stdout.

A request has an `op`, the alias of its `database`, and may freeze the clock: `now`, in microseconds since 1970. Instants are
numbers like that everywhere.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from datetime import datetime, timedelta, timezone as zones
from unittest import mock

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django

django.setup()

from django.conf import settings
from django.contrib.sessions.backends import cached_db
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.utils import timezone

import plain
from routing import ToTheDatabaseOfTheRequest

EPOCH = datetime(1970, 1, 1, tzinfo=zones.utc)
UNDER_WAY = {}


def instant_of(micros):
    """As Django has instants under these settings."""
    instant = EPOCH + timedelta(microseconds=micros)
    return instant if settings.USE_TZ else timezone.make_naive(instant, timezone.get_default_timezone())


def micros_of(instant):
    if timezone.is_naive(instant):
        instant = timezone.make_aware(instant, timezone.get_default_timezone())
    return (instant - EPOCH) // timedelta(microseconds=1)


@contextlib.contextmanager
def clock_at(now):
    """The expiry is counted from one clock, and the signature is stamped by another."""
    if now is None:
        yield
        return
    stamp = mock.patch("django.core.signing.time.time", return_value=now / 1_000_000)
    with mock.patch("django.utils.timezone.now", return_value=instant_of(now)), stamp:
        yield


def create(key=None, data=None, expiry=None, **_):
    """Under a key of the test's, or one of Django's own; `expiry` in seconds, or as SESSION_COOKIE_AGE says."""
    store = SessionStore(key)
    store._session_cache = dict(data)
    if expiry is not None:
        store.set_expiry(expiry)
    if key is None:
        store.create()
    else:
        store.save(must_create=True)
    return row(store.session_key)


def update(key, data, **_):
    """What a request does: loads, changes, saves."""
    store = SessionStore(key)
    store.update(data)
    store.save()
    return row(key)


def begin(key, **_):
    """The first half of a request: it has loaded its session."""
    UNDER_WAY[key] = SessionStore(key)
    UNDER_WAY[key]._session_cache = UNDER_WAY[key].load()


def finish(key, data, **_):
    """The second half: it saves what it has changed. Answers whether Django took it."""
    store = UNDER_WAY.pop(key)
    store.update(data)
    try:
        store.save()
    except UpdateError:
        return False
    return True


def move(key, expires, **_):
    """To another end, with nothing else changed."""
    session = Session.objects.get(pk=key)
    session.expire_date = instant_of(expires)
    session.save()
    return row(key)


def load(key, **_):
    """As a request with that cookie finds it. Django forgets a key that it finds no session under."""
    store = SessionStore(key)
    data = store.load()
    return None if store.session_key is None else {"data": data, **row(key)}


def load_cached(key, **_):
    store = cached_db.SessionStore(key)
    data = store.load()
    return None if store.session_key is None else data


def row(key):
    session = Session.objects.get(pk=key)
    return {"key": key, "payload": session.session_data, "expires": micros_of(session.expire_date)}


def encode(data, **_):
    """What Django would store, and until when."""
    store = SessionStore()
    return {"payload": store.encode(data), "expires": micros_of(store.get_expiry_date())}


def manage(arguments, **_):
    """A command of `manage.py`; answers what it printed and whether it succeeded."""
    printed = io.StringIO()
    try:
        call_command(*arguments, stdout=printed, stderr=printed, no_color=True)
    except (CommandError, SystemExit) as failure:
        return {"succeeded": False, "printed": f"{printed.getvalue()}{failure}"}
    return {"succeeded": True, "printed": printed.getvalue()}


OPERATIONS = {
    "create": create,
    "update": update,
    "begin": begin,
    "finish": finish,
    "move": move,
    "load": load,
    "load_cached": load_cached,
    "exists": lambda key, **_: SessionStore().exists(key),
    "delete": lambda key, **_: SessionStore(key).delete(),
    "encode": encode,
    "manage": manage,
    "raw_rows": lambda database, **_: plain.rows(settings.DATABASES[database]),
    "raw_schema": lambda database, **_: plain.schema(settings.DATABASES[database]),
    "execute": lambda database, sql, **_: plain.execute(settings.DATABASES[database], sql),
}


def answer(request):
    ToTheDatabaseOfTheRequest.database = request.setdefault("database", "default")
    try:
        with clock_at(request.get("now")):
            return {"answer": OPERATIONS[request["op"]](**request)}
    except Exception:
        return {"error": traceback.format_exc()}


# Whatever Django prints by itself must not stand between the answers.
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
