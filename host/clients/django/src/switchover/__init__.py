"""Django's sessions and its database router, in a Switchover server.

* ``SESSION_ENGINE = "switchover.sessions"``: the sessions;
* ``DATABASE_ROUTERS = ["switchover.Router"]``: the router;
* ``INSTALLED_APPS = [..., "switchover"]``: the system checks;
* ``SWITCHOVER = {"SOCKET": "/run/switchover/sock"}``: where the server is.
"""

from switchover.exceptions import OutcomeUnknown, SwitchoverError, Unavailable
from switchover.router import Router

__all__ = ["OutcomeUnknown", "Router", "SwitchoverError", "Unavailable"]
