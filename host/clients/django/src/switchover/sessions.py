"""``SESSION_ENGINE = "switchover.sessions"``."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, CreateError, SessionBase, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.utils.crypto import get_random_string
from django.utils.timezone import get_default_timezone, is_naive

from switchover.client import client
from switchover.exceptions import SwitchoverError

#: What a key of the server may be. A cookie may hold anything.
_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
#: How many ended sessions a request of ``clear_expired`` deletes.
_CLEAR_AT_ONCE = 1000


class SessionStore(SessionBase):
    """The sessions of a Switchover server.

    The payload is what Django's own ``db`` engine stores, so both can use one table. It never creates a session that
    was logged out: saving one raises ``UpdateError``, as Django's ``db`` engine does.

    :raises switchover.Unavailable: whenever the server cannot be asked. That is never "no session".
    """

    def load(self) -> dict[str, Any]:
        payload = self._payload()
        if payload is None:
            self._session_key = None
            return {}
        return self.decode(payload)

    def exists(self, session_key: str | None) -> bool:
        if not _is_key(session_key):
            return False
        return client().ask("HEAD", _path(session_key)).status == 200

    def create(self) -> None:
        while True:
            # The server refuses a key that is taken: asking before is not needed.
            self._session_key = self._new_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            return self.create()
        data = self._get_session(no_load=must_create)
        if self.session_key is None:
            # It was loaded just now, and is gone.
            raise UpdateError
        answer = client().write(
            "PUT",
            f"{_path(self.session_key)}?mode={'create' if must_create else 'update'}",
            headers={"Session-Expires": _written(self.get_expiry_date(modification=_now())), "Content-Type": "application/octet-stream"},
            body=self.encode(data).encode(),
        )
        if answer.status == 409:
            raise CreateError
        if answer.status == 404:
            raise UpdateError

    def delete(self, session_key: str | None = None) -> None:
        key = self.session_key if session_key is None else session_key
        if _is_key(key):
            client().write("DELETE", _path(key))

    def cycle_key(self) -> None:
        """Gives the session a new key.

        :raises SessionInterrupted: it was logged out meanwhile, and stays so.
        """
        data, was_modified = self._session, self.modified
        if self.session_key is None:
            self.create()
            return
        answer = client().write("POST", f"{_path(self.session_key)}/cycle")
        if answer.status == 404:
            raise SessionInterrupted("The session was logged out in a concurrent request before it got its new key.")
        cycled = answer.json()
        old_key, self._session_key = self.session_key, cycled["key"]
        if not cycled["old_key_deleted"]:
            self.delete(old_key)
        self._session_cache = data
        self.modified = True
        if was_modified:
            self.save()

    async def acycle_key(self) -> None:
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        while client().write("POST", f"/v1/sessions/clear-expired?limit={_CLEAR_AT_ONCE}").json()["deleted"]:
            pass

    def _payload(self) -> str | None:
        if not _is_key(self.session_key):
            return None
        answer = client().ask("GET", _path(self.session_key))
        if answer.status != 404 and "Session-Expires" not in answer.headers:
            raise SwitchoverError("the answer is no session: is SWITCHOVER the address of a Switchover server?")
        # What is not text is no session of Django's: `decode` then reports it as corrupted.
        return None if answer.status == 404 else answer.body.decode(errors="replace")

    def _new_key(self) -> str:
        # `_get_new_session_key` of Django asks for each key whether it exists.
        return get_random_string(32, VALID_KEY_CHARS)


def _is_key(key: str | None) -> bool:
    # The path of a key must not be that of another request.
    return key is not None and key != "clear-expired" and _KEY.fullmatch(key) is not None


def _path(key: str) -> str:
    return f"/v1/sessions/{quote(key, safe='')}"


def _now() -> datetime:
    # With `USE_TZ = False` Django's own is naive, and means two instants in the hour when summer ends.
    return datetime.now(timezone.utc)


def _written(end: datetime) -> str:
    if is_naive(end):
        end = end.replace(tzinfo=get_default_timezone())
    # A session that ended before 1970 has ended.
    end = max(end.astimezone(timezone.utc), datetime(1970, 1, 1, tzinfo=timezone.utc))
    return end.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
