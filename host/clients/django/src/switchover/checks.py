"""Django's system checks: the settings, and with ``check --database`` the server."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from switchover import conf
from switchover.client import client
from switchover.exceptions import SwitchoverError

ENGINE = "switchover.sessions"


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        conf.read()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="switchover.E001")]
    if not _is_used():
        hint = f'Set SESSION_ENGINE = "{ENGINE}", or DATABASE_ROUTERS = ["switchover.Router"].'
        return [Warning("Switchover is installed, and nothing uses it.", hint=hint, id="switchover.W001")]
    return []


def check_server(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    # Django's `migrate` asks too: a project that goes over must not need the server before its engine is changed.
    if databases is None or not _is_used():
        return []
    try:
        client().ask("GET", "/readyz")
    except ImproperlyConfigured:
        return []  # `switchover.E001` says it.
    except SwitchoverError as error:
        hint = "Start it with `switchover serve`, and compare its address with the setting SWITCHOVER."
        return [Error(f"The Switchover server is not ready: {error}", hint=hint, id="switchover.E002")]
    return []


def _is_used() -> bool:
    return settings.SESSION_ENGINE == ENGINE or any("switchover" in str(router) for router in settings.DATABASE_ROUTERS)
