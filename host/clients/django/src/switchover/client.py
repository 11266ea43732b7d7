"""HTTP to the server: a connection for each thread, kept open."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.core.signals import setting_changed

from switchover import conf
from switchover.exceptions import OutcomeUnknown, SwitchoverError, Unavailable

#: A wait that the server names is worth one more try within a request if it is this short, in seconds.
RETRY_WITHIN = 0.25


@dataclass(frozen=True)
class Answer:
    """An answer that is not an error."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise SwitchoverError("the server's answer is not JSON: is it a Switchover server?") from None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


class _Kept:
    """A connection of a thread, closed with the thread."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.process = os.getpid()

    def is_usable(self) -> bool:
        # After a fork the socket is the parent's. A socket that can be read between two requests was closed.
        return self.process == os.getpid() and not (self.connection.sock and _is_readable(self.connection.sock))

    def __del__(self) -> None:
        # Of the child's copy too: that leaves the parent's open.
        self.connection.close()


class Client:
    """Calls one server. May be shared by threads, and survives a fork."""

    def __init__(self, configuration: conf.Configuration) -> None:
        self.configuration = configuration
        self._local = threading.local()

    def ask(self, method: str, path: str, **request: Any) -> Answer:
        """Sends a request that reads.

        :raises Unavailable: there is no answer.
        :raises SwitchoverError: the server refuses it.
        """
        return self._twice(method, path, writes=False, **request)

    def write(self, method: str, path: str, **request: Any) -> Answer:
        """As ``ask``, for a request that writes.

        :raises OutcomeUnknown: it was sent, and nobody knows whether it happened.
        """
        return self._twice(method, path, writes=True, **request)

    def _twice(self, method: str, path: str, **request: Any) -> Answer:
        answer = self._once(method, path, **request)
        wait = _short_wait(answer)
        if wait is not None:
            time.sleep(wait)
            answer = self._once(method, path, **request)
        return _understood(answer)

    def _once(
        self,
        method: str,
        path: str,
        *,
        writes: bool,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        headers = dict(headers or {})
        if self.configuration.token:
            headers["Authorization"] = f"Bearer {self.configuration.token}"
        connection = self._connection()
        was_open = connection.sock is not None
        try:
            if not was_open:
                connection.connect()
        except (OSError, http.client.HTTPException) as error:
            self._forget()
            raise Unavailable(f"no connection to the Switchover server: {_words(error)}", "unavailable") from error
        try:
            # A server that refuses a body may answer before it has all of it.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
            # The end of a connection looks like the end of the headers. The server writes this one last.
            if "Date" not in response.headers:
                raise http.client.HTTPException("its answer was cut, or it is another server")
        except (OSError, http.client.HTTPException) as error:
            self._forget()
            # A server closes a connection that was idle. Everything but a POST is safe to repeat.
            if was_open and method != "POST" and isinstance(error, ConnectionError):
                return self._once(method, path, writes=writes, headers=headers, body=body)
            kind, what = (OutcomeUnknown, "the outcome is unknown") if writes else (Unavailable, "nothing was read")
            code = "unknown-outcome" if writes else "unavailable"
            raise kind(f"the Switchover server did not answer, {what}: {_words(error)}", code) from error
        except BaseException:
            # What is left of the answer would be taken for that of the next request.
            self._forget()
            raise
        if response.will_close:
            self._forget()
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        kept = getattr(self._local, "kept", None)
        if kept is None or not kept.is_usable():
            self._local.kept = kept = _Kept(self._new())
        return kept.connection

    def _new(self) -> http.client.HTTPConnection:
        to = self.configuration
        if to.socket is not None:
            return _UnixConnection(to.socket, to.timeout)
        if to.tls is not None:
            return http.client.HTTPSConnection(to.host, to.port, timeout=to.timeout, context=to.tls)
        return http.client.HTTPConnection(to.host, to.port, timeout=to.timeout)

    def _forget(self) -> None:
        self._local.kept = None


@cache
def client() -> Client:
    """The client of the setting ``SWITCHOVER``."""
    return Client(conf.read())


def _setting_changed(*, setting: str, **_: Any) -> None:
    if setting == "SWITCHOVER":
        client.cache_clear()


setting_changed.connect(_setting_changed)


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        problem = json.loads(answer.body)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {}


def _short_wait(answer: Answer) -> float | None:
    if answer.status < 500:
        return None
    wait = _problem(answer).get("retry_after_ms")
    seconds = wait / 1000 if isinstance(wait, (int, float)) else None
    return seconds if seconds is not None and seconds <= RETRY_WITHIN else None


def _understood(answer: Answer) -> Answer:
    """Passes on what is an answer for the caller: success, and the two refusals that have a meaning in Django."""
    if 200 <= answer.status < 300:
        return answer
    # The header, since the answer to a HEAD has no body. A 404 of another server has none.
    code = answer.headers.get("Switchover-Error")
    if (answer.status, code) in ((404, "no-session"), (409, "exists")):
        return answer
    detail = _problem(answer).get("detail") or "it gave no reason"
    message = f"the Switchover server answered {answer.status}: {detail}"
    if answer.status == 504:
        raise OutcomeUnknown(message, code)
    if answer.status == 503:
        raise Unavailable(message, code)
    raise SwitchoverError(message, code)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
