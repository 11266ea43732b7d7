"""``DATABASE_ROUTERS = ["switchover.Router"]``."""

from __future__ import annotations

import json
from typing import Any

from switchover.client import client


class Router:
    """Puts Django's questions to the policy of the server. ``None``: it has no opinion.

    Each question is a request. ``SWITCHOVER["ROUTER_APPS"]`` names the apps that it is asked about; without it, all.

    :raises switchover.Unavailable: whenever the server cannot be asked. That is never "no opinion".
    """

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self._ask("db-for-read", model._meta.app_label, {"model": _model(model), "hints": _hints(hints)})

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self._ask("db-for-write", model._meta.app_label, {"model": _model(model), "hints": _hints(hints)})

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool | None:
        asked = {"a": _object(obj1), "b": _object(obj2), "hints": _hints(hints)}
        return self._ask("allow-relation", (obj1._meta.app_label, obj2._meta.app_label), asked)

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        asked = {"database": db, "app_label": app_label, "model_name": model_name, "hints": _hints(hints)}
        return self._ask("allow-migrate", app_label, asked)

    def _ask(self, question: str, apps: str | tuple[str, ...], asked: dict[str, Any]) -> Any:
        server = client()
        wanted = server.configuration.router_apps
        named = (apps,) if isinstance(apps, str) else apps
        if wanted is not None and wanted.isdisjoint(named):
            return None
        headers = {"Content-Type": "application/json"}
        return server.ask("POST", f"/v1/router/{question}", headers=headers, body=json.dumps(asked).encode()).json()


def _model(model: Any) -> dict[str, str]:
    return {"app_label": model._meta.app_label, "model_name": model._meta.model_name}


def _object(obj: Any) -> dict[str, Any]:
    return {"model": _model(obj), "database": obj._state.db}


def _hints(hints: dict[str, Any]) -> dict[str, Any]:
    instance = hints.get("instance")
    told: dict[str, Any] = {"context": {name: value for name, value in hints.items() if isinstance(value, str)}}
    if instance is not None:
        told["instance_database"] = instance._state.db
    return told
