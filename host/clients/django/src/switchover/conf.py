"""The setting ``SWITCHOVER``."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KNOWN = {
    "SOCKET", "URL", "TOKEN", "TOKEN_FILE", "CA_FILE", "CERT_FILE", "KEY_FILE", "TIMEOUT", "ROUTER_APPS",
}


@dataclass(frozen=True)
class Configuration:
    """Where the server is, and how it is called."""

    #: The path of its unix socket; ``None``: it is called over TCP.
    socket: str | None
    host: str
    port: int
    tls: ssl.SSLContext | None
    token: str | None
    #: Seconds, for connecting and for each answer.
    timeout: float
    #: The labels of the apps that the router asks about; ``None``: all.
    router_apps: frozenset[str] | None


def read() -> Configuration:
    """Reads the setting.

    :raises ImproperlyConfigured: it names the entry that is wrong, and never shows a token.
    """
    setting = getattr(settings, "SWITCHOVER", None)
    if not isinstance(setting, dict):
        raise ImproperlyConfigured(
            'SWITCHOVER is not set: say where the server is, SWITCHOVER = {"SOCKET": "/run/switchover/sock"} '
            'or {"URL": "https://sessions.internal:7655", "TOKEN_FILE": "/etc/switchover/token"}'
        )
    unknown = sorted(str(name) for name in setting.keys() - KNOWN)
    if unknown:
        raise ImproperlyConfigured(f"SWITCHOVER: unknown {', '.join(unknown)}; known are {', '.join(sorted(KNOWN))}")
    if ("SOCKET" in setting) == ("URL" in setting):
        raise ImproperlyConfigured("SWITCHOVER: give one of SOCKET and URL")
    apps = setting.get("ROUTER_APPS")
    if isinstance(apps, str):
        raise ImproperlyConfigured("SWITCHOVER: ROUTER_APPS is a list of labels")
    router_apps = None if apps is None else frozenset(apps)
    timeout = setting.get("TIMEOUT", 5.0)
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or timeout <= 0:
        raise ImproperlyConfigured("SWITCHOVER: TIMEOUT is a number of seconds above 0")
    if "SOCKET" in setting:
        beside = sorted({"TOKEN", "TOKEN_FILE", "CA_FILE", "CERT_FILE", "KEY_FILE"} & setting.keys())
        if beside:
            raise ImproperlyConfigured(f"SWITCHOVER: {', '.join(beside)} is for URL: the mode of a socket says who may call")
        return Configuration(str(setting["SOCKET"]), "localhost", 0, None, None, timeout, router_apps)
    url = urlsplit(str(setting["URL"]))
    if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
        raise ImproperlyConfigured("SWITCHOVER: URL is http://HOST:PORT or https://HOST:PORT, with nothing behind it")
    tls = _tls(setting) if url.scheme == "https" else None
    port = url.port or (443 if tls else 80)
    return Configuration(None, url.hostname, port, tls, _token(setting), timeout, router_apps)


def _tls(setting: dict[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=setting.get("CA_FILE"))
        if "CERT_FILE" in setting:
            context.load_cert_chain(setting["CERT_FILE"], setting.get("KEY_FILE"))
    except (OSError, ssl.SSLError) as error:
        raise ImproperlyConfigured(f"SWITCHOVER: the files of TLS cannot be used: {error}") from error
    return context


def _token(setting: dict[str, Any]) -> str | None:
    if "TOKEN_FILE" not in setting:
        return setting.get("TOKEN")
    try:
        return Path(setting["TOKEN_FILE"]).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ImproperlyConfigured(f"SWITCHOVER: TOKEN_FILE {setting['TOKEN_FILE']} cannot be read") from None
