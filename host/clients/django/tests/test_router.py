"""The router, the settings and the checks."""

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import ConnectionRouter
from django.test import SimpleTestCase, override_settings

from switchover import Router, Unavailable, conf

NOWHERE = "/nonexistent/switchover.sock"


class RouterTests(SimpleTestCase):
    """The policy of the server is `cached-db`, which has no opinion of anything."""

    def test_no_opinion_goes_to_the_next_router(self):
        self.assertIsNone(Router().db_for_read(Session))
        self.assertIsNone(Router().db_for_write(Session, instance=Session()))
        self.assertIsNone(Router().allow_relation(User(), Session()))
        self.assertIsNone(Router().allow_migrate("default", "sessions", model_name="session"))
        chain = ConnectionRouter(["switchover.Router"])
        self.assertEqual(chain.db_for_read(Session), "default")
        self.assertTrue(chain.allow_migrate("default", "auth"))

    def test_outage_is_not_no_opinion(self):
        with override_settings(SWITCHOVER={"SOCKET": NOWHERE}):
            with self.assertRaises(Unavailable):
                Router().db_for_read(Session)

    def test_only_the_named_apps_are_asked_about(self):
        with override_settings(SWITCHOVER={"SOCKET": NOWHERE, "ROUTER_APPS": ["sessions"]}):
            self.assertIsNone(Router().db_for_read(User))
            with self.assertRaises(Unavailable):
                Router().db_for_read(Session)


class SettingsTests(SimpleTestCase):
    def test_each_mistake_is_named(self):
        for setting, named in (
            (None, "not set"),
            ({}, "SOCKET and URL"),
            ({"SOCKET": "/s", "URL": "http://h"}, "SOCKET and URL"),
            ({"SOKCET": "/s"}, "SOKCET"),
            ({"URL": "h:1"}, "URL"),
            ({"URL": "ftp://h"}, "URL"),
            ({"SOCKET": "/s", "TOKEN": "secret"}, "TOKEN"),
            ({"SOCKET": "/s", "TIMEOUT": 0}, "TIMEOUT"),
            ({"SOCKET": "/s", "ROUTER_APPS": "sessions"}, "ROUTER_APPS"),
            ({"URL": "http://h", "TOKEN_FILE": "/nonexistent"}, "TOKEN_FILE"),
            ({"URL": "https://h", "CA_FILE": "/nonexistent"}, "TLS"),
        ):
            with override_settings(SWITCHOVER=setting), self.assertRaises(ImproperlyConfigured) as raised:
                conf.read()
            self.assertIn(named, str(raised.exception))
            self.assertNotIn("secret", str(raised.exception))

    def test_checks_find_wrong_settings_and_a_server_that_is_away(self):
        def found(**kwargs):
            return [message.id for message in run_checks(**kwargs) if message.id.startswith("switchover")]

        self.assertEqual(found(tags=["database"], databases=["default"]), [])
        self.assertEqual(found(), [])
        with override_settings(SWITCHOVER={}):
            self.assertEqual(found(), ["switchover.E001"])
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
            self.assertEqual(found(), ["switchover.W001"])
        with override_settings(SWITCHOVER={"SOCKET": NOWHERE}):
            self.assertEqual(found(tags=["database"], databases=["default"]), ["switchover.E002"])
            with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
                self.assertEqual(found(tags=["database"], databases=["default"]), [])
