"""The engine through Django's own tests, and through what those do not ask."""

import asyncio
import os
import threading
from datetime import datetime, timedelta, timezone

from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.management import call_command
from django.test import Client, SimpleTestCase, override_settings
from sessions_tests.tests import SessionTestsMixin

import site_urls
from switchover import OutcomeUnknown, SwitchoverError, Unavailable
from switchover.client import client
from switchover.sessions import SessionStore

NOWHERE = {"SOCKET": "/nonexistent/switchover.sock"}


class DjangosOwnTests(SessionTestsMixin, SimpleTestCase):
    """What Django asks of each of its engines."""

    backend = SessionStore


@override_settings(USE_TZ=False, TIME_ZONE="America/New_York")
class DjangosOwnTestsWithoutZones(SessionTestsMixin, SimpleTestCase):
    backend = SessionStore


def saved(**data):
    store = SessionStore()
    store.update(data)
    store.save()
    return store


class EngineTests(SimpleTestCase):
    def test_payload_is_that_of_the_db_engine(self):
        store = saved(cat="dog")
        answer = client().ask("GET", f"/v1/sessions/{store.session_key}")
        self.assertEqual(DatabaseStore().decode(answer.body.decode()), {"cat": "dog"})

    def test_end_is_kept_to_the_microsecond_and_in_every_zone(self):
        end = datetime(2031, 10, 26, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
        store = SessionStore()
        store.set_expiry(end)
        store.save()
        answer = client().ask("GET", f"/v1/sessions/{store.session_key}")
        self.assertEqual(answer.headers["Session-Expires"], "2031-10-26T06:30:00.123456Z")

    @override_settings(USE_TZ=False)
    def test_age_is_right_without_zones(self):
        store = SessionStore()
        store.set_expiry(3600)
        store.save()
        answer = client().ask("GET", f"/v1/sessions/{store.session_key}")
        left = datetime.fromisoformat(answer.headers["Session-Expires"].replace("Z", "+00:00")) - datetime.now(timezone.utc)
        self.assertAlmostEqual(left.total_seconds(), 3600, delta=60)

    def test_ended_sessions_are_not_found_and_are_cleared(self):
        store = SessionStore()
        store.set_expiry(-3600)
        store.save()
        self.assertEqual(SessionStore(store.session_key).load(), {})
        self.assertTrue(store.exists(store.session_key))
        call_command("clearsessions")
        self.assertFalse(store.exists(store.session_key))

    def test_cookie_may_hold_anything(self):
        for key in ("k" * 300, "a key with spaces", "schlüssel", "a/../../b", "clear-expired", "%2e%2e%2f", "?mode=create"):
            store = SessionStore(key)
            self.assertIsNone(store.get("cat"), key)
            store["cat"] = "dog"
            store.save()
            self.assertNotEqual(store.session_key, key)

    def test_session_that_is_too_large_is_refused_with_words(self):
        store = saved(cat="dog")
        store["much"] = os.urandom(4 << 20).hex()
        with self.assertRaises(SwitchoverError) as raised:
            store.save()
        self.assertEqual(raised.exception.code, "too-large")
        self.assertEqual(SessionStore(store.session_key).get("cat"), "dog")

    def test_threads_and_tasks_do_not_mix_answers(self):
        stores = [saved(number=number) for number in range(16)]
        wrong = []

        def read(number):
            for _ in range(20):
                found = SessionStore(stores[number].session_key).get("number")
                if found != number:
                    wrong.append((number, found))

        threads = [threading.Thread(target=read, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

        async def read_all():
            return await asyncio.gather(*(SessionStore(store.session_key).aget("number") for store in stores))

        self.assertEqual(asyncio.run(read_all()), list(range(16)))

    def test_forked_worker_has_a_connection_of_its_own(self):
        store = saved(cat="dog")  # The parent has a connection now.
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                found = SessionStore(store.session_key).get("cat")
                os.write(writer, str(found).encode())
            finally:
                os._exit(0)
        found_by_parent = SessionStore(store.session_key).get("cat")
        os.waitpid(child, 0)
        self.assertEqual((found_by_parent, os.read(reader, 100)), ("dog", b"dog"))


class OutageTests(SimpleTestCase):
    def test_outage_is_never_no_session(self):
        store = saved(cat="dog")
        with override_settings(SWITCHOVER=NOWHERE):
            acts = {
                "load": lambda: SessionStore(store.session_key).load(),
                "exists": lambda: store.exists(store.session_key),
                "save": lambda: store.save(),
                "create": lambda: SessionStore().create(),
                "delete": lambda: store.delete(),
                "cycle_key": lambda: store.cycle_key(),
                "clear_expired": lambda: SessionStore.clear_expired(),
            }
            for name, act in acts.items():
                with self.assertRaises(Unavailable, msg=name) as raised:
                    act()
                self.assertNotIn(store.session_key, str(raised.exception), name)
                self.assertNotIsInstance(raised.exception, UpdateError)
        self.assertEqual(SessionStore(store.session_key).get("cat"), "dog")

    def test_other_server_is_no_empty_store(self):
        for answer in (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        ):
            with Server(answer) as server, override_settings(SWITCHOVER={"URL": server.url}):
                with self.assertRaises(SwitchoverError, msg=answer):
                    SessionStore("a" * 32).load()

    def test_write_without_an_answer_is_an_unknown_outcome(self):
        for answer in (b"", b"HTTP/1.1 204"):
            with Server(answer) as server, override_settings(SWITCHOVER={"URL": server.url}):
                store = SessionStore("a" * 32)
                store._session_cache = {"cat": "dog"}
                with self.assertRaises(OutcomeUnknown):
                    store.save()

    def test_silent_server_takes_no_longer_than_the_timeout(self):
        with Server(None) as server, override_settings(SWITCHOVER={"URL": server.url, "TIMEOUT": 0.2}):
            with self.assertRaises(Unavailable):
                SessionStore("a" * 32).load()


class Server:
    """Answers each connection with these bytes, and closes it; `None`: with nothing, and stays."""

    def __init__(self, answer):
        import socket

        self._answer, self._open = answer, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            if self._answer is not None:
                connection.recv(65536)
                connection.sendall(self._answer)
                connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        for connection in self._open:
            connection.close()


class SiteTests(SimpleTestCase):
    def setUp(self):
        site_urls.meanwhile = []

    def test_basket_stays_and_a_logout_empties_it(self):
        visitor = Client()
        visitor.get("/put/pear")
        self.assertEqual(visitor.get("/put/plum").json(), ["pear", "plum"])
        stolen = visitor.cookies["sessionid"].value
        visitor.get("/logout")
        thief = Client()
        thief.cookies["sessionid"] = stolen
        self.assertEqual(thief.get("/show").json(), [])

    def test_request_that_ends_after_a_logout_does_not_bring_the_session_back(self):
        for page in ("/slow", "/rename"):
            visitor, other = Client(), Client()
            visitor.get("/put/pear")
            key = visitor.cookies["sessionid"].value
            other.cookies["sessionid"] = key
            site_urls.meanwhile = [lambda: other.get("/logout")]
            self.assertEqual(visitor.get(page).status_code, 400, page)
            self.assertEqual(SessionStore(key).load(), {}, page)

    def test_new_key_has_the_session_and_the_old_one_has_not(self):
        visitor = Client()
        visitor.get("/put/pear")
        old = visitor.cookies["sessionid"].value
        visitor.get("/rename")
        self.assertNotEqual(visitor.cookies["sessionid"].value, old)
        self.assertEqual(visitor.get("/show").json(), ["pear"])
        self.assertEqual(SessionStore(old).load(), {})

    def test_new_key_after_a_logout_is_refused(self):
        store = saved(cat="dog")
        SessionStore(store.session_key).delete()
        with self.assertRaises(SessionInterrupted):
            store.cycle_key()

    def test_view_sees_an_outage(self):
        visitor = Client(raise_request_exception=False)
        visitor.get("/put/pear")
        with override_settings(SWITCHOVER=NOWHERE):
            answer = visitor.get("/show")
            self.assertEqual(answer.status_code, 500)
            self.assertNotIn("sessionid", answer.cookies)
        self.assertEqual(visitor.get("/show").json(), ["pear"])
